"""What LaVie's networks take at full size, beside what is estimated; or the stages themselves under a limit.

    python benchmarks/memory.py [--device cpu|cuda] [--case NAME] [--json]
    python benchmarks/memory.py --device cuda --limit 8GB      each released stage at its own size, in float16
    python benchmarks/memory.py --case base --limit 4GB --dtype bfloat16   one of them on the CPU
    python benchmarks/memory.py --model lavie-tiny --limit 1GB a check of the same on the CPU

Every case runs in a process of its own, with random weights. On the CPU (Linux) the measure is the peak of resident
memory above that before the weights; on CUDA it is torch's peak of allocated memory, and a limit is enforced.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import peak, start_of_peak
from benchmarks.released import UNETS
from lavie import InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from lavie.models import UNetConfig, VideoUNet, build_unet, to_channels_last
from lavie.models.meta import WithoutWeights
from lavie.runtime.device import DTYPES
from lavie.runtime.estimate import SLICES, Execution, Weights, Workload, stage_bytes
from lavie.runtime.free_memory import memory_limit
from lavie.runtime.placement import weight_bytes
from lavie.stages import CASCADE, STAGES

VAES = {"f8": (128, 256, 512, 512), "f4": (128, 256, 512)}
PIPELINES = {"base": TextToVideoPipeline, "interpolation": InterpolationPipeline, "upscaler": UpscalePipeline}
# Network, frames, height and width of latents, sliced: in the released models' proportions, smaller.
CASES = {
    "base": ("base", 16, 20, 32, False),
    "base sliced": ("base", 16, 20, 32, True),
    "interpolation": ("interpolation", 29, 20, 32, False),
    "interpolation sliced": ("interpolation", 29, 20, 32, True),
    "upscaler": ("upscaler", 8, 48, 64, False),
    "upscaler sliced": ("upscaler", 8, 48, 64, True),
    "decode f8": ("f8", 1, 40, 64, False),
    "decode f4": ("f4", 1, 80, 128, False),
    "base at its own size": ("base", 16, 40, 64, False),
    "base at its own size, sliced": ("base", 16, 40, 64, True),
}
INPUT = {"base": (16, 320, 512), "interpolation": (16, 320, 512), "upscaler": (61, 320, 512)}
TINY_INPUT = {"base": (16, 64, 96), "interpolation": (16, 64, 96), "upscaler": (16, 64, 96)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--case", choices=(*CASES, *CASCADE))
    parser.add_argument("--limit", metavar="SIZE", help="run the stages by `memory` under this limit")
    parser.add_argument("--dtype", choices=DTYPES, help="of the stages; default: float16 on a GPU, float32 on the CPU")
    parser.add_argument("--model", choices=("lavie", "lavie-tiny"), default="lavie")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.case is not None:
        run = run_network if args.limit is None else run_stage
        print(json.dumps(run(args)), flush=True)
        return
    cases = CASCADE if args.limit else [case for case in CASES if "own size" not in case or args.device == "cuda"]
    results = [in_own_process(case) for case in cases]
    print(json.dumps(results, indent=1) if args.json or args.limit else table(results))


def in_own_process(case: str) -> dict:
    """One case; where it fails, how."""
    command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        return {"case": case, "error": (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]}
    return json.loads(ended.stdout.strip().splitlines()[-1])


def table(results: list[dict]) -> str:
    rows = [f"{'case':30s} weights  peak above  estimate  ratio"]
    for made in results:
        if "error" in made:
            rows.append(f"{made['case']:30s} {made['error']}")
            continue
        weights, peak, estimate = (made[name] / 1e9 for name in ("weights", "peak", "estimate"))
        rows.append(f"{made['case']:30s} {weights:7.2f} {peak:11.2f} {estimate:9.2f} {estimate / peak:6.2f}")
    return "\n".join(rows)


def run_network(args: argparse.Namespace) -> dict:
    """One evaluation of a UNet, or one frame decoded."""
    name, frames, height, width, sliced = CASES[args.case]
    device = torch.device(args.device)
    stage = STAGES[{"f8": "base", "f4": "upscaler"}.get(name, name)]
    before = start_of_peak(device)
    module = filled(new_vae(VAES[name]) if name in VAES else new_unet(UNETS[name]), args.device)
    weights = weight_bytes(module)
    asked = {"frames": frames, "height": height, "width": width, "batch": 1, "encodes": False}
    if name in VAES:
        latents = torch.randn(frames, 4, height, width, device=args.device)
        config, scale, parts = UNetConfig(), 2 ** (len(VAES[name]) - 1), Weights(0, 0, weights, 0)
    else:
        config, scale, parts = UNETS[name], 1, Weights(weights, 0, 0, 0)
        elements = frames * height * width * config.block_out_channels[0]
        module.slice_elements = elements // SLICES if sliced else None
    work = Workload(stage, config, parts, itemsize=4, scale=scale, vae_width=128, device=args.device, **asked)
    started = time.perf_counter()
    with torch.no_grad():
        if name in VAES:
            module.decode(latents)
        else:
            labels = None if config.num_class_embeds is None else torch.tensor([50], device=args.device)
            sample = torch.randn(1, config.in_channels, frames, height, width, device=args.device)
            module(sample, 500, torch.randn(1, 77, config.cross_attention_dim, device=args.device), labels)
    seconds = round(time.perf_counter() - started, 1)
    estimate = stage_bytes(work, Execution(guided=False, sliced=sliced))
    taken = peak(device) - before
    return {"case": args.case, "weights": weights, "peak": taken, "estimate": estimate, "seconds": seconds}


def run_stage(args: argparse.Namespace) -> dict:
    """A stage by the budget, one step of it."""
    import numpy as np

    device = torch.device(args.device)
    if args.device == "cuda":
        limit = memory_limit(args.limit, device)
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / torch.cuda.get_device_properties(0).total_memory))
    before = start_of_peak(device)
    limit = memory_limit(args.limit, device)
    pipeline = PIPELINES[args.case](new_stage(args.case, args.model, device, args.dtype), limit)
    said: list[str] = []
    pipeline.notify = said.append
    frames, height, width = (INPUT if args.model == "lavie" else TINY_INPUT)[args.case]
    started = time.perf_counter()
    if args.case == "base":
        made = pipeline("", num_inference_steps=1, num_frames=frames, height=height, width=width)
    else:
        made = pipeline(np.zeros((frames, height, width, 3), np.uint8), num_inference_steps=1)
    return {
        "case": args.case,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "limit": limit,
        "taken before": before,
        "peak": peak(device) - before,
        "plan": said,
        "made": list(made.frames.shape),
        "seconds": round(time.perf_counter() - started, 1),
    }


def new_stage(name: str, model: str, device: torch.device, dtype: str | None = None):
    """The bundled stage, or one of released size with random weights."""
    from transformers import CLIPTextConfig, CLIPTextModel

    from lavie.config import RELEASED_STAGES, find_family
    from lavie.models.text_encoder import CLIP_L, OPENCLIP_H, TextEncoder, load_tokenizer
    from lavie.pipelines.stage import Stage
    from lavie.runtime import choose_dtype
    from lavie.runtime.placement import Placement

    tiny = find_family("lavie-tiny")
    if model == "lavie-tiny":
        return Stage.load(name, tiny, device, dtype, placed=True)
    dtype = choose_dtype(dtype, device)
    unet = filled(new_unet(UNETS[name]), "cpu", dtype)
    vae = filled(new_vae(VAES["f4" if name == "upscaler" else "f8"]), "cpu")
    text_config = CLIPTextConfig(**(OPENCLIP_H if name == "upscaler" else CLIP_L))
    text_encoder = CLIPTextModel(text_config).to(dtype).eval()
    encoder = TextEncoder(load_tokenizer(tiny.path(tiny.base.tokenizer), text_config.vocab_size), text_encoder)
    placement = Placement(unet, vae, text_encoder, device)
    return Stage(name, tiny, RELEASED_STAGES[name], unet, vae, encoder, device, dtype, placement)


def new_unet(config: UNetConfig):
    with WithoutWeights():
        return build_unet(config)


def new_vae(widths: tuple[int, ...]):
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ["DownEncoderBlock2D"] * len(widths), "layers_per_block": 2}
    blocks["up_block_types"] = ["UpDecoderBlock2D"] * len(widths)
    with torch.device("meta"):
        return AutoencoderKL(block_out_channels=widths, latent_channels=4, **blocks)


def filled(module: torch.nn.Module, device: str, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """A network without weights, with small random ones: a GPU is faster with constants than it is in use."""

    def weight(each: torch.Tensor) -> torch.Tensor:
        if not each.is_meta:
            return each.to(device)
        return torch.empty(each.shape, dtype=dtype, device=device).normal_(std=0.02)

    module.load_state_dict({name: weight(each) for name, each in module.state_dict().items()}, assign=True)
    return (to_channels_last(module) if isinstance(module, VideoUNet) else module).eval()


if __name__ == "__main__":
    main()
