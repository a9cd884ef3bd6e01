"""A video knows all that shaped it: asked for by what its metadata says, and by nothing else, it comes out the same."""

import json

import numpy as np
import pytest

from lab.sprites.held_out import held_out_scenes, rendered_clips
from lavie import (
    CascadePipeline,
    ExtensionPipeline,
    InterpolationPipeline,
    LongVideoPipeline,
    TextToVideoPipeline,
    TransitionPipeline,
    UpscalePipeline,
)
from lavie.config import StageConfig
from lavie.knobs import knobs_of
from lavie.long_video import METHODS, LongVideoSettings
from lavie.sampling import PromptSchedule
from lavie.speed import Speed
from lavie.video import read_metadata, write_video

PROMPT = "a red ball moving left over green grass"
SMALL = {"height": 32, "width": 48}
# Nothing here is what the bundled models stand at.
SETTINGS = {
    "num_inference_steps": 2,
    "guidance_scale": 3.0,
    "guidance_rescale": 0.5,
    "scheduler": "euler",
    "spacing": "trailing",
    "negative_prompt": "snow",
}


@pytest.fixture(scope="module")
def loaded():
    """Pipelines of the bundled family, each loaded once."""
    known = {}
    return lambda kind: known.setdefault(kind, kind.from_pretrained("lavie-tiny", device="cpu"))


@pytest.fixture(scope="module")
def clip():
    return next(iter(rendered_clips(held_out_scenes(1, seed=5), 5, 32, 48)))


# How a pipeline is called with what is asked for, and with frames where it needs some.
def of_base(pipeline, asked, clip):
    return pipeline(asked.pop("prompt"), **asked)


def of_a_video(pipeline, asked, clip):
    return pipeline(clip, asked.pop("prompt"), **asked)


def of_its_end(pipeline, asked, clip):
    return pipeline(asked.pop("prompt"), clip, **asked)


def of_two_videos(pipeline, asked, clip):
    return pipeline(asked.pop("prompt"), clip[:2], clip[3:], **asked)


CASES = {
    "base": (TextToVideoPipeline, of_base, {**SMALL, "num_frames": 3}),
    "interpolation": (InterpolationPipeline, of_a_video, {"window": 3, "overlap": 1}),
    "upscaler": (
        UpscalePipeline,
        of_a_video,
        {
            "noise_level": 30,
            "window": 3,
            "overlap": 1,
            "tile": 32,
            "tile_overlap": 8,
            "color_correction": "wavelet",
        },
    ),
    "upscaler, official": (UpscalePipeline, of_a_video, {"chunks": "official"}),
    "extension": (ExtensionPipeline, of_its_end, {"num_frames": 3, "anchor": 0.3, "seam_frames": 2, "motion": 1.0}),
    "transition": (TransitionPipeline, of_two_videos, {"num_frames": 2, "context_frames": 1}),
}


def stage_of(case):
    return {"transition": "extension"}.get(case, case.split(",")[0])


def asked_of(metadata, stage, *more):
    """What a call is told again: the settings of a stage, and others by name."""
    stored = json.loads(json.dumps(metadata))
    return {name: stored[name] for name in (*knobs_of(StageConfig, stage), "prompt", "seed", *more)}


@pytest.mark.parametrize("case", CASES)
def test_a_video_is_made_again_from_its_metadata_alone(loaded, clip, case):
    kind, call, own = CASES[case]
    pipeline, asked = loaded(kind), {"prompt": PROMPT, "seed": 5, **SETTINGS, **own}
    made = call(pipeline, dict(asked), clip)
    again = call(pipeline, asked_of(made.metadata, stage_of(case), *own), clip)
    assert np.array_equal(again.frames, made.frames)
    assert again.metadata == made.metadata
    plain = call(pipeline, {"prompt": PROMPT, "num_inference_steps": 2, **own}, clip)
    assert not np.array_equal(plain.frames, made.frames)


@pytest.mark.parametrize("case", CASES)
def test_the_metadata_hold_every_setting_of_the_stage_as_it_was(loaded, clip, case):
    kind, call, own = CASES[case]
    asked = {"prompt": PROMPT, "seed": 5, **SETTINGS, **own}
    metadata = call(loaded(kind), dict(asked), clip).metadata
    assert set(knobs_of(StageConfig, stage_of(case))) <= set(metadata)
    assert {**asked, "model": "lavie-tiny", "speed": "exact"}.items() <= metadata.items()


def test_settings_that_were_the_models_own_are_told_too(loaded, clip):
    """So that they stay what they were when the model's own are others."""
    pipeline = loaded(InterpolationPipeline)
    metadata = pipeline(clip[:2], PROMPT, num_inference_steps=1).metadata
    config = pipeline.stage.config
    for name in ("negative_prompt", "guidance_scale", "guidance_rescale", "scheduler", "spacing", "window", "overlap"):
        assert metadata[name] == getattr(config, name)


@pytest.mark.parametrize("speed", ["balanced", Speed(0.5, full_every=2)], ids=["a preset", "one's own"])
def test_a_quick_video_is_made_again(loaded, clip, speed):
    pipeline = loaded(InterpolationPipeline)
    made = pipeline(clip[:2], PROMPT, speed=speed, num_inference_steps=4)
    again = pipeline(clip[:2], **asked_of(made.metadata, "interpolation"))
    assert np.array_equal(again.frames, made.frames)
    assert again.metadata == made.metadata


LONG = {
    "replacement": {"context_frames": 2, "drift_correction": 0.5, "anchor": 0.2, "seam_frames": 1, "resample": 2},
    "conditioned": {"anchor": 0.2, "drift_correction": 0.5},
    "free_noise": {"context_frames": 8, "motion_injection": True, "free_init_iterations": 2},
    "fifo": {"partitions": 1, "lookahead": False},
    "free_long": {"motion": 1.5},
    "independent": {},
    "gen_l_video": {"context_frames": 4},
}


def of_method(metadata):
    names = (*knobs_of(LongVideoSettings), "method", "resize")
    asked = {name: metadata[name] for name in names if name in metadata}
    asked |= asked_of(metadata, "base")
    return {**asked, "prompt": PromptSchedule.parse(asked["prompt"])}


@pytest.mark.parametrize("method", METHODS)
def test_a_long_video_is_made_again_from_its_metadata_alone(loaded, method):
    pipeline, prompt = loaded(LongVideoPipeline), PromptSchedule.parse(f"0: {PROMPT}, 9: a blue star over the sea")
    asked = {**SETTINGS, "height": 16, "width": 24, "seed": 5, "transition": 2, **LONG[method]}
    made = pipeline(prompt, 18, method=method, **asked)
    again = pipeline(**of_method(json.loads(json.dumps(made.metadata))))
    assert np.array_equal(again.frames, made.frames)
    assert again.metadata == made.metadata
    assert {*METHODS[method].has, "motion", "free_init_iterations", "transition"} <= set(made.metadata)


def test_a_video_that_goes_on_tells_its_size_and_is_made_again(loaded, clip):
    pipeline = loaded(LongVideoPipeline)
    asked = {**SETTINGS, "seed": 5, "method": "replacement"}
    made = pipeline(PROMPT, 8, video=clip[:, :24], **asked)
    assert (made.metadata["height"], made.metadata["width"]) == (24, 48)
    again = asked_of(made.metadata, "base", "method", "context_frames", "seam_frames")
    del again["height"], again["width"]  # the video's
    assert np.array_equal(pipeline(**again, video=clip[:, :24]).frames, made.frames)
    stretched = pipeline(PROMPT, 8, video=clip, resize="stretch", height=16, width=24, **asked)
    again = asked_of(stretched.metadata, "base", "method", "resize", "context_frames")
    assert np.array_equal(pipeline(**again, video=clip).frames, stretched.frames)


def test_a_cascade_is_made_again_from_its_file_alone(tmp_path):
    pipeline = CascadePipeline.from_pretrained("lavie-tiny", device="cpu")
    asked = {**SETTINGS, "height": 16, "width": 24, "num_frames": 2, "seed": 5, "speed": Speed(0.04)}
    made = pipeline(PROMPT, upscale=False, **asked)
    write_video(tmp_path / "film.mp4", made.frames, made.fps, made.metadata)
    stored = read_metadata(tmp_path / "film.mp4")
    stages = {"interpolate": "interpolation" in stored["stages"], "upscale": "upscaler" in stored["stages"]}
    again = pipeline(**asked_of(stored, "base"), **stages)
    assert np.array_equal(again.frames, made.frames)
    assert again.metadata == made.metadata
    later = stored["stages"]["interpolation"]
    assert set(knobs_of(StageConfig, "interpolation")) <= set(later)
