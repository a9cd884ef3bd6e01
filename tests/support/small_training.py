"""A stage small enough for tests of the loop: a real UNet that learns latents from memory, with joint images.

`python tests/support/small_training.py FOLDER '{"NAME": {"steps": 4, …}, …}'` makes runs of its own; the
tests of stopping and of several processes start it.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lavie.models import build_unet
from lavie.training.data import Clip, ClipRequest, ClipSource, Mixture, TrainingData, UnreadableClip
from lavie.training.freezing import apply_scheme
from lavie.training.loop import LoopSettings, train
from lavie.training.objective import add_noise, frame_timesteps, joint_errors, joint_loss
from support.networks import TWO_LEVELS

SCRIPT = Path(__file__)
CONFIG = {**TWO_LEVELS, "block_out_channels": (32, 32), "cross_attention_dim": 8}
FRAMES, IMAGES = 3, 1
TENTH_OF_A_STEP = 1e-4  # AdamW makes much of the rounding of gradients that are nearly nothing
SETTINGS = {"steps": 4, "batch_size": 4, "learning_rate": 1e-3, "warmup": 2, "log_every": 1, "save_every": 0}


class Latents(ClipSource):
    """Random latents by row, of one frame or several; `broken` rows cannot be read."""

    def __init__(self, name, rows=16, broken=()):
        self.name, self.rows, self.broken = name, rows, broken

    def __len__(self):
        return self.rows

    def caption(self, row, generator):
        return f"row {row}"

    def read(self, row, request, generator):
        if row in self.broken:
            raise UnreadableClip(f"{self.name}-{row}.mp4", "it is damaged.")
        values = torch.Generator().manual_seed(row + 1000 * (self.name == "pictures"))
        latents = torch.randn(4, request.num_frames, request.height, request.width, generator=values)
        return Clip(f"row {row}", f"{self.name}-{row}", {"latents": latents})

    def fingerprint(self):
        return self.name


class SmallStage:
    """Joint training of a base UNet; the caption's length stands for text."""

    def __init__(self, train="all", images=IMAGES, spoil_after=None, pause=0.0):
        torch.manual_seed(0)
        self.model = apply_scheme(build_unet(CONFIG), train, rank=2)
        self.images, self.spoil_after, self.pause = images, spoil_after, pause
        self.seen, self.calls = [], 0

    def loss(self, model, examples):
        self.calls += 1
        time.sleep(self.pause)
        self.seen += [example.number for example in examples]
        latents, noise, timesteps, text = (torch.stack(part) for part in zip(*map(self.drawn, examples), strict=True))
        device = next(model.parameters()).device
        latents, noise, timesteps, text = (part.to(device) for part in (latents, noise, timesteps, text))
        sample = add_noise(latents, noise, frame_timesteps(timesteps, FRAMES))
        text = text if self.images else text[:, 0]
        levels = timesteps if self.images else timesteps[:, 0]
        prediction = model(sample, levels, text, num_images=self.images)
        if not self.images:
            return {"total": (prediction - noise).square().mean()}
        terms = joint_loss(*joint_errors(prediction, noise, timesteps, self.images, "epsilon", "uniform"), alpha=0.5)
        spoilt = self.spoil_after is not None and self.calls > self.spoil_after
        return {**terms, "total": terms["total"] * float("nan")} if spoilt else terms

    def drawn(self, example):
        generator = example.generator()
        clips = (example.clip, *example.images)
        latents = torch.cat([clip.tensors["latents"] for clip in clips], dim=1)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(1000, (len(clips),), generator=generator)
        text = torch.stack([torch.full((2, 8), len(clip.caption) / 10.0) for clip in clips])
        return latents, noise, timesteps, text

    def samples(self, model):
        torch.rand(7)  # whatever it draws must not matter for the run
        level = min(255, int(100 * model.conv_in.weight.abs().mean()))
        return {"a clip": np.full((12, 4, 6, 3), level, dtype=np.uint8)}


def small_data(batch_size, seed=0, images=IMAGES, broken=()):
    request = ClipRequest(FRAMES, 6, 4)
    stills = Mixture([Latents("pictures")]) if images else None
    return TrainingData(Mixture([Latents("clips", broken=broken)]), request, batch_size, seed, stills, images)


def run(folder, stage=None, broken=(), on_step=None, recorded=None, **changes):
    """A run on the CPU with `SETTINGS` and these changes."""
    settings = LoopSettings(**{**SETTINGS, "device": "cpu", **changes})
    stage = stage or SmallStage()
    data = small_data(settings.batch_size, settings.seed, stage.images, broken)
    return train(stage, data, settings, Path(folder), on_step, recorded)


def read_log(folder):
    return [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]


def main():
    """Several runs one after another in the folder, until one is stopped; the main process keeps their weights."""
    folder, runs = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    if os.environ.get("SHARD_ON_CPU"):
        shard_on_cpu(int(os.environ["SHARD_ON_CPU"]))
    for name, options in runs.items():
        stage = SmallStage(pause=options.pop("pause", 0.0))
        result = run(folder / name, stage, on_step=lambda step, terms: print(f"step {step}", flush=True), **options)
        if result.stopped:
            break
        if result.is_main:
            torch.save(result.model.state_dict(), folder / name / "weights.pt")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    sys.exit(128 + result.signal if result.stopped else 0)


def shard_on_cpu(version):
    """accelerate (1.15) turns FSDP on for GPUs and their like only; told otherwise, it runs on CPUs, over gloo."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    usual = AcceleratorState.__init__

    def init(self, *args, **kwargs):
        usual(self, *args, **kwargs)
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=version, state_dict_type="SHARDED_STATE_DICT", auto_wrap_policy="no_wrap"
        )
        AcceleratorState._shared_state |= {"distributed_type": DistributedType.FSDP, "fsdp_plugin": plugin}

    AcceleratorState.__init__ = init


if __name__ == "__main__":
    main()
