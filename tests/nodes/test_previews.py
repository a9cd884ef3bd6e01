"""Previews that move: what ComfyUI sends to the page while a clip is sampled."""

import io
import sys
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, ImageSequence
from support.graph import part

previews = part("nodes.host.previews")


class Latent2RGBPreviewer:
    """As ComfyUI's: the first frame of the first video."""

    def decode_latent_to_preview(self, x0):
        return Image.fromarray((x0[0, :3, 0].movedim(0, -1) * 255).byte().numpy())

    def decode_latent_to_preview_image(self, preview_format, x0):
        return "JPEG", self.decode_latent_to_preview(x0), 512


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    module = SimpleNamespace(Latent2RGBPreviewer=Latent2RGBPreviewer)
    monkeypatch.setitem(sys.modules, "latent_preview", module)
    monkeypatch.setattr(previews, "time", Clock())
    return previews.time


BASE = SimpleNamespace(model=SimpleNamespace(lavie=SimpleNamespace(config=SimpleNamespace(fps=8))))


def sampling(previewer):
    """The callback that ComfyUI would be given, and what that has sent."""
    sent = []

    def callback(step, x0, x, steps):
        sent.append(previewer and previewer.decode_latent_to_preview_image("JPEG", x0))

    return previews.moving(callback, BASE), sent, callback


def clip(frames):
    """Latents of frames that grow brighter."""
    return torch.linspace(0, 1, frames)[None, None, :, None, None].expand(1, 4, frames, 8, 12)


def saved(sent):
    """The file that ComfyUI makes of what it sends: server.py, send_image_with_metadata."""
    kind, image, size = sent
    assert size is None
    file = io.BytesIO()
    image.save(file, format=kind, quality=95, compress_level=1)
    return Image.open(file)


def timing(animation):
    return [frame.info["duration"] for frame in ImageSequence.Iterator(animation) if frame.load()]


def test_a_preview_plays_the_clip_at_its_speed():
    show, sent, _ = sampling(Latent2RGBPreviewer())
    show(0, clip(16), None, 50)
    animation = saved(sent[0])
    assert animation.format == "WEBP"
    assert animation.info["loop"] == 0
    assert animation.size == (256, 171)
    assert timing(animation) == [125] * 16
    brightness = [frame.convert("L").getpixel((0, 0)) for frame in ImageSequence.Iterator(animation)]
    assert brightness == sorted(brightness)
    assert brightness[-1] - brightness[0] > 150


def test_a_long_video_plays_in_three_seconds_and_sixteen_frames():
    show, sent, _ = sampling(Latent2RGBPreviewer())
    show(0, clip(64), None, 50)
    assert timing(saved(sent[0])) == [188] * 16


def test_a_loop_plays_once_before_the_next_and_the_last_step_is_always_shown(clock):
    show, sent, _ = sampling(Latent2RGBPreviewer())
    for step in range(6):  # a second each
        show(step, clip(16), None, 6)
        clock.now += 1
    assert [bool(each) for each in sent] == [True, False, True, False, True, True]


@pytest.mark.parametrize("previewer", [None, type("OfAnotherPack", (Latent2RGBPreviewer,), {})()])
def test_no_previews_and_those_of_another_pack_stay_as_they_are(previewer):
    show, _, callback = sampling(previewer)
    assert show is callback


def test_a_program_that_wants_a_still_gets_the_first_frame():
    show, sent, _ = sampling(Latent2RGBPreviewer())
    show(0, clip(4), None, 50)
    file = io.BytesIO()
    sent[0][1].save(file, "PNG")
    assert Image.open(file).convert("L").getextrema() == (0, 0)


def test_core_samplers_show_moving_previews_too():
    guider = SimpleNamespace(model_patcher=BASE)

    class Executor:
        class_obj = guider

        def __call__(self, noise, latents, sampler, sigmas, mask, callback, *rest, **options):
            callback(0, clip(4), None, 1)
            return rest, options

    _, sent, callback = sampling(Latent2RGBPreviewer())
    given = (None, None, "euler", None, None)
    assert previews.with_moving_previews(Executor(), *given, callback, False, 7, shape=1) == ((False, 7), {"shape": 1})
    assert saved(sent[0]).n_frames == 4


def test_a_core_sampler_without_previews_is_left_alone():
    assert previews.with_moving_previews(lambda *given: given, 1, 2, 3, 4, 5, None, 6) == (1, 2, 3, 4, 5, None, 6)
