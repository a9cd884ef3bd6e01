"""Interpolator and upscaler take VIDEO or IMAGE and give both; duration and sound are kept."""

from fractions import Fraction

import pytest
import torch
from support.graph import clip_of, part, refused, run, stage, wires

host = part("nodes.host")
AUDIO = {"waveform": torch.zeros(1, 2, 24000), "sample_rate": 48000}


def node(name, **given):
    kind = {"interpolation": "LaVieTemporalInterpolator", "upscaler": "LaVieVideoUpscaler"}[name]
    return run(kind, **{**wires(name), "vae": stage(name).vae, "steps": 1, **given})


def video(frames=6, rate=Fraction(24000, 1001), audio=AUDIO, size=(16, 16)):
    return host.make_video(clip_of(frames, *size), rate, audio)


def test_an_interpolated_video_lasts_as_long_and_keeps_its_sound():
    given = video()
    images, fps, made = node("interpolation", images=given)
    parts = made.get_components()
    assert len(images) == 21
    assert parts.images is images
    assert len(images) / parts.frame_rate == 6 / Fraction(24000, 1001)
    assert fps == float(parts.frame_rate)
    assert parts.audio is AUDIO


def test_frames_alone_take_the_rate_of_the_widget():
    images, fps, made = node("interpolation", images=clip_of(6, 16, 16), fps=12.0)
    assert (fps, made.get_components().audio) == (42, None)
    assert len(images) / fps == 6 / 12


def test_another_rate_of_the_output_can_be_chosen():
    _, fps, made = node("interpolation", images=video(), output_fps=60.0)
    assert (fps, made.get_components().frame_rate) == (60, 60)
    assert made.get_components().audio is AUDIO


def test_an_upscaled_video_keeps_its_rate_and_its_sound():
    images, made = node("upscaler", images=video(3))
    parts = made.get_components()
    assert (parts.images.shape, parts.frame_rate, parts.audio) == ((3, 64, 64, 3), Fraction(24000, 1001), AUDIO)
    assert parts.images is images
    images, made = node("upscaler", images=clip_of(1, 16, 16), fps=30.0)
    assert made.get_components().frame_rate == 30


@pytest.mark.parametrize("fps", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("name", ["interpolation", "upscaler"])
def test_an_impossible_rate_is_told_before_any_work(name, fps, monkeypatch):
    monkeypatch.setattr(host, "load", lambda *_: pytest.fail("work began"))
    refused(lambda: node(name, images=clip_of(2, 16, 16), fps=fps), "frame rate must be between 0.01 and 1000")


def test_odd_sizes_become_even_and_the_node_says_so(monkeypatch):
    said = []
    monkeypatch.setattr(host, "note", said.append)
    images, *_ = node("interpolation", images=clip_of(2, 17, 19))
    assert images.shape == (5, 18, 20, 3)
    base = {**wires("base"), "vae": stage("base").vae, "steps": 1, "num_frames": 1}
    still = clip_of(1, 17, 18)
    moving, _ = run("LaVieImageToVideo", **base, images=still)
    assert moving.shape == (2, 18, 18, 3)
    assert torch.equal(moving[:1, :17], still)
    joined, *_ = run("LaVieTransition", **base, first=still, second=still, context_frames=1)
    assert joined.shape == (3, 18, 18, 3)
    assert len(said) == 4
    assert said[0].startswith("The images of 19×17 pixels are taken as 20×18: Save Video needs even sides")
    node("upscaler", images=clip_of(1, 17, 19))  # four times as large is even
    assert len(said) == 4


TINY = {"1-pixel": (1, 1), "5-row": (5, 40)}


@pytest.mark.parametrize("size", TINY.values(), ids=TINY)
def test_images_that_are_too_small_are_refused_everywhere(size, monkeypatch):
    monkeypatch.setattr(host, "load", lambda *_: pytest.fail("work began"))
    images = clip_of(2, *size)
    base = {**wires("base"), "vae": stage("base").vae}
    too_small = f"{size[1]}×{size[0]} pixels is too small"
    calls = [
        lambda: node("interpolation", images=images),
        lambda: node("interpolation", images=host.make_video(images, Fraction(8))),
        lambda: node("upscaler", images=images),
        lambda: run("LaVieImageToVideo", **base, images=images),
        lambda: run("LaVieImageToVideo", **base, images=images, resize="crop"),
        lambda: run("LaVieTransition", **base, first=images, second=images),
        lambda: run("LaVieTransition", **base, first=clip_of(2, 16, 16), second=images, resize="stretch"),
        lambda: run("LaVieVAEEncode", images=images, vae=stage("base").vae),
        lambda: run("LaVieLoraTrainer", images=images, trigger="zorb"),
    ]
    for call in calls:
        refused(call, too_small)
