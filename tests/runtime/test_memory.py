"""A pipeline with little memory makes the same video where it can, and says what it gave up where it cannot."""

import json
import re

import numpy as np
import pytest
import torch

from lavie.cli import main
from lavie.errors import UsageError
from lavie.long_video import METHODS
from lavie.pipelines import (
    ExtensionPipeline,
    InterpolationPipeline,
    LongVideoPipeline,
    TextToVideoPipeline,
    TransitionPipeline,
    UpscalePipeline,
)
from lavie.runtime.placement import Placement, block_bytes, blocks_of, offload_blocks, weight_bytes
from lavie.video import read_metadata, write_video

FRAMES = np.linspace(0, 255, 4 * 16 * 24 * 3).reshape(4, 16, 24, 3).astype(np.uint8)


@pytest.fixture
def budget(monkeypatch):
    """Makes the estimate of a stage's memory a number for each of its means; returns what the pipelines said."""

    def cost(**each):
        def estimate(work, execution):
            worth = {
                "sequential_guidance": execution.sequential_guidance,
                "sliced": execution.sliced,
                "vae_frames": execution.vae_frames == 1,
                "vae_tile": execution.vae_tile > 0,
                "window": 0 < execution.window < work.frames,
            }
            return 1000 - sum(each.get(name, 0) * value for name, value in worth.items())

        monkeypatch.setattr("lavie.runtime.budget.stage_bytes", estimate)

    return cost


def load(kind, memory):
    pipeline = kind.from_pretrained("lavie-tiny", "cpu", memory=memory)
    said = []
    pipeline.notify = said.append
    return pipeline, said


def close(made, expected):
    return np.abs(made.frames.astype(int) - expected.frames).max() <= 1


def test_exact_means_make_the_same_video(budget):
    budget(sequential_guidance=1, sliced=1, vae_frames=1)
    settings = {"num_frames": 3, "height": 16, "width": 24, "num_inference_steps": 1, "seed": 4}
    pipeline, said = load(TextToVideoPipeline, 1097)  # 997, and the margin
    whole = load(TextToVideoPipeline, None)[0]("a ball", **settings)
    assert close(pipeline("a ball", **settings), whole)
    assert [word in said[0] for word in ("base:", "in turn", "slices")] == [True, True, True]
    assert pipeline.stage.unet.slice_elements is not None


def test_a_call_with_enough_memory_forgets_the_means_of_the_last_one(budget):
    budget(sliced=1)
    pipeline, _ = load(TextToVideoPipeline, 1099)
    settings = {"num_frames": 2, "height": 16, "width": 16, "num_inference_steps": 1}
    pipeline("a ball", **settings)
    assert pipeline.stage.unet.slice_elements is not None
    pipeline.memory = 2000
    pipeline("a ball", **settings)
    assert pipeline.stage.unet.slice_elements is None


def test_interpolation_and_upscaling_work_in_exact_means_too(budget):
    budget(sequential_guidance=1, sliced=1, vae_frames=1)
    for kind in (InterpolationPipeline, UpscalePipeline):
        settings = {"num_inference_steps": 1, "guidance_scale": 2.0}
        whole = load(kind, None)[0](FRAMES[:2], "a ball", **settings)
        pipeline, said = load(kind, 1097)
        assert close(pipeline(FRAMES[:2], "a ball", **settings), whole)
        assert len(said) == 1


SMALL = {"num_inference_steps": 1, "guidance_scale": 2.0, "seed": 4}


def test_a_clip_that_goes_on_keeps_to_its_memory_and_says_how(budget):
    budget(sequential_guidance=1, sliced=1, vae_frames=1)
    whole = load(ExtensionPipeline, None)[0]("a ball", FRAMES, num_frames=3, **SMALL)
    pipeline, said = load(ExtensionPipeline, 1097)
    assert close(pipeline("a ball", FRAMES, num_frames=3, **SMALL), whole)
    assert len(said) == 1
    assert [word in said[0] for word in ("extension:", "in turn", "slices", "one frame at a time")] == [True] * 4


def test_a_transition_keeps_to_its_memory_and_says_how(budget):
    budget(sequential_guidance=1, sliced=1, vae_frames=1)
    whole = load(TransitionPipeline, None)[0]("a ball", FRAMES[:2], FRAMES[2:], num_frames=2, **SMALL)
    pipeline, said = load(TransitionPipeline, 1097)
    assert close(pipeline("a ball", FRAMES[:2], FRAMES[2:], num_frames=2, **SMALL), whole)
    assert len(said) == 1
    assert [word in said[0] for word in ("base:", "in turn", "slices", "one frame at a time")] == [True] * 4


@pytest.mark.parametrize("method", METHODS)
def test_a_long_video_keeps_to_its_memory_in_every_stage_and_says_how(budget, method):
    budget(sequential_guidance=1, sliced=1, vae_frames=1)
    settings = {"method": method, "height": 16, "width": 24, **SMALL, **({"partitions": 1} if method == "fifo" else {})}
    whole = load(LongVideoPipeline, None)[0]("a ball", 18, **settings)
    pipeline, said = load(LongVideoPipeline, 1097)
    assert close(pipeline("a ball", 18, **settings), whole)
    stages = ["base", METHODS[method].stage] if METHODS[method].stage else ["base"]
    assert [plan.split(":")[0] for plan in said] == stages
    assert all(word in plan for plan in said for word in ("in turn", "slices", "one frame at a time"))


@pytest.mark.parametrize("kind", [LongVideoPipeline, ExtensionPipeline, TransitionPipeline])
def test_memory_that_no_plan_keeps_to_is_refused_before_any_work(budget, kind):
    budget(sequential_guidance=1)
    pipeline, _ = load(kind, 500)
    pipeline.stage.unet.register_forward_pre_hook(lambda *_: pytest.fail("evaluated"))
    given = {LongVideoPipeline: (18,), ExtensionPipeline: (FRAMES,), TransitionPipeline: (FRAMES, FRAMES)}[kind]
    with pytest.raises(UsageError, match="too small"):
        pipeline("a ball", *given)


def test_windows_and_tiles_that_had_to_be_are_told_and_in_the_metadata(budget):
    budget(window=100, sliced=1)
    pipeline, said = load(UpscalePipeline, 1000)
    made = pipeline(FRAMES, "a ball", num_inference_steps=1)
    assert "Windows of 2 frames, 1 shared, which changes the result (47 dB PSNR to the result without" in said[0]
    assert (made.metadata["window"], made.metadata["overlap"]) == (2, 1)


def test_too_little_memory_is_refused_with_the_least_that_would_do(budget):
    budget(sequential_guidance=1)
    pipeline, _ = load(UpscalePipeline, 500)
    with pytest.raises(UsageError, match=r"too small: 0 MB is the least"):
        pipeline(FRAMES, "a ball")


def test_the_command_says_what_it_chose_unless_it_is_to_be_quiet(tmp_path, capsys):
    command = ["generate", "a ball", "--frames", "2", "--size", "16x16", "--steps", "1", "--no-interpolate"]
    command += ["--no-upscale", "--device", "cpu", "--memory", "64GB", "-o", str(tmp_path / "clip.gif")]
    assert main(command) == 0
    assert re.match(r"base: [\d.]+ [GM]B of 64\.0 GB\.\n", capsys.readouterr().err)
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("memory", "words"), [("10MB", "is the least that this takes"), ("lots", "no amount of memory")]
)
def test_the_command_refuses_too_little_memory_in_one_line(tmp_path, capsys, memory, words):
    command = ["generate", "a ball", "--frames", "2", "--size", "16x16", "--device", "cpu", "--memory", memory]
    assert main([*command, "--json", "-o", str(tmp_path / "clip.gif")]) == 2
    said = capsys.readouterr()
    assert words in json.loads(said.out)["error"]
    assert len(said.err.splitlines()) == 1


def test_all_segments_of_a_film_have_the_windows_that_memory_asks_for(budget, tmp_path):
    budget(window=100)
    film, output = str(tmp_path / "film.gif"), str(tmp_path / "large.mp4")
    write_video(film, np.repeat(FRAMES, 5, axis=0)[:18], 8)
    command = ["upscale", film, "-o", output, "--steps", "1", "--segment", "12", "--memory", "0.001MB", "--quiet"]
    assert main([*command, "--device", "cpu"]) == 0
    assert read_metadata(output)["window"] == 6


class Part(torch.nn.Linear):
    """A network that tells where it was sent."""

    def __init__(self, name, moves):
        super().__init__(1, 1)
        self.moves, self.name = moves, name

    def to(self, device):
        self.moves.append((self.name, device.type))
        return super().to(device)


def test_parts_are_on_the_device_in_turn():
    moves = []
    parts = [Part(name, moves) for name in ("unet", "vae", "text_encoder")]
    placement = Placement(*parts, torch.device("meta"))
    placement.mode = "parts"
    placement.bring("text_encoder")
    assert moves == [("text_encoder", "meta")]
    assert placement.weight_bytes() == 8
    moves.clear()
    parts[2] = placement.parts["text_encoder"] = Part("text_encoder", moves)
    placement.mode = "none"
    placement.bring("unet")
    assert moves == [("unet", "meta")]


def test_one_block_at_a_time_is_on_the_device_and_predicts_the_same():
    unet = load(UpscalePipeline, None)[0].stage.unet
    inputs = torch.randn(1, 7, 2, 4, 6), 5, torch.randn(1, 77, unet.config.cross_attention_dim), torch.tensor([50])
    blocks, homes, on_device = blocks_of(unet), {each.data_ptr() for each in unet.parameters()}, []

    def is_copy(block):
        return next(block.parameters()).data_ptr() not in homes

    for block in blocks:
        block.register_forward_hook(lambda *_: on_device.append(sum(map(is_copy, blocks))))
    with torch.no_grad():
        whole = unet(*inputs)
        assert set(on_device) == {0}
        on_device.clear()
        offload_blocks(unet, torch.device("cpu"))
        assert torch.equal(unet(*inputs), whole)
        assert torch.equal(unet(*inputs), whole)
    assert on_device == [1] * 2 * len(blocks)
    assert not any(map(is_copy, blocks))


def test_the_largest_block_and_what_is_outside_of_blocks_are_less_than_the_unet():
    unet = load(TextToVideoPipeline, None)[0].stage.unet
    assert weight_bytes(unet) == sum(each.nbytes for each in unet.state_dict().values())
    assert weight_bytes(unet.conv_in) < block_bytes(unet) < weight_bytes(unet) / 2
    parts = sum(map(weight_bytes, blocks_of(unet)))
    outside = (unet.conv_in, unet.conv_out, unet.conv_norm_out, unet.time_embedding)
    assert parts + sum(map(weight_bytes, outside)) == weight_bytes(unet)


def test_weights_in_8_bits_make_almost_the_same_video_and_are_remembered():
    pipeline, _ = load(UpscalePipeline, None)
    whole = pipeline(FRAMES[:2], "a ball", num_inference_steps=1)
    before = weight_bytes(pipeline.stage.unet)
    pipeline.store_as_float8()
    assert weight_bytes(pipeline.stage.unet) < 0.4 * before
    made = pipeline(FRAMES[:2], "a ball", num_inference_steps=1)
    assert 0 < np.abs(made.frames.astype(int) - whole.frames).mean() < 6
    assert (made.metadata["weights"], "weights" in whole.metadata) == ("float8", False)


def test_a_film_made_in_8_bits_says_so(tmp_path):
    film, output = str(tmp_path / "film.gif"), str(tmp_path / "large.gif")
    write_video(film, FRAMES[:2], 8)
    assert main(["upscale", film, "-o", output, "--steps", "1", "--float8", "--quiet", "--device", "cpu"]) == 0
    assert read_metadata(output)["weights"] == "float8"
