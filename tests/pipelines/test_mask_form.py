"""The mask form (SEINE): one network of 9 input channels makes whatever frames are missing, wherever they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.networks import TWO_LEVELS
from torch import nn

from lab.sprites.held_out import held_out_scenes, rendered_clips
from lavie import ExtensionPipeline, LongVideoPipeline, TransitionPipeline
from lavie.config import BUNDLED
from lavie.models import build_unet
from lavie.models.config import UNetConfig
from lavie.models.latents import decode_latents, encode_video, to_uint8
from lavie.pipelines.stage import to_video
from lavie.sampling.schedule import alphas_cumprod

PROMPT = "a red ball moving left over green grass"
CPU = torch.device("cpu")
NEAR = 20  # of 255: what the VAE and one step of noise leave between a frame and its reconstruction
SMALL = {**TWO_LEVELS, "in_channels": 9, "cross_attention_dim": 128}


class Blends(nn.Module):
    """Makes missing frames by blending the known ones beside them, or repeating the last; keeps what it was given."""

    config = UNetConfig(in_channels=9)

    def __init__(self):
        super().__init__()
        self.masks, self.shown = [], []

    def forward(self, sample, timestep, states, class_labels=None):
        missing, shown = sample[0, 4, :, 0, 0] == 1, sample[:, 5:]
        self.masks.append("".join(str(int(frame)) for frame in missing))
        self.shown.append(shown)
        known = (~missing).nonzero().flatten().tolist()
        clean = shown.clone()
        for frame in missing.nonzero().flatten().tolist():
            before = max(place for place in known if place < frame)
            after = min((place for place in known if place > frame), default=None)
            way = 0 if after is None else (frame - before) / (after - before)
            clean[:, :, frame] = shown[:, :, before].lerp(shown[:, :, after or before], way)
        alpha = alphas_cumprod()[int(timestep)]
        return (sample[:, :4] - alpha.sqrt() * clean) / (1 - alpha).sqrt()


@pytest.fixture(scope="module")
def base():
    return LongVideoPipeline.from_pretrained(BUNDLED, device="cpu").stage


@pytest.fixture
def stage(base):
    """An extension stage of the mask form that ends at the clean latents exactly."""
    config = base.config.replaced(
        num_inference_steps=2, spacing="linspace", guidance_scale=1.0, prediction_type="epsilon", scheduler="ddim"
    )
    return replace(base, name="extension", config=config, unet=Blends())


@pytest.fixture(scope="module")
def shots():
    """Two clips of different scenes, uint8 [6, 64, 96, 3] each."""
    return list(rendered_clips(held_out_scenes(2, seed=5), 6, 64, 96))


def distance(one, other):
    return np.abs(np.asarray(one).astype(float) - np.asarray(other)).mean()


def frames_of(stage, latents):
    return to_uint8(decode_latents(stage.vae, latents))[0].permute(1, 2, 3, 0).numpy()


def test_an_image_becomes_a_video(stage, shots):
    image = shots[0][:1]
    made = ExtensionPipeline(stage)(PROMPT, image, num_frames=5).frames
    assert set(stage.unet.masks) == {"0" + "1" * 15}
    assert np.array_equal(made[:1], image)
    assert max(distance(frame, image[0]) for frame in made[1:]) < NEAR
    assert distance(made[1], shots[1][0]) > 2 * NEAR


def test_the_first_and_the_last_frame_are_led_from_one_to_the_other(stage, shots):
    first, last = shots[0][:1], shots[1][:1]
    made = TransitionPipeline(stage)(PROMPT, first, last, num_frames=3).frames
    assert set(stage.unet.masks) == {"01110"}
    assert np.array_equal(made[[0, 4]], np.concatenate((first, last)))
    away = [distance(frame, first[0]) for frame in made]
    ahead = [distance(frame, last[0]) for frame in made]
    assert away == sorted(away)
    assert ahead == sorted(ahead, reverse=True)


def test_a_transition_is_shown_the_end_of_one_shot_and_the_beginning_of_the_next(stage, shots):
    made = TransitionPipeline(stage)(PROMPT, *shots, num_frames=4, context_frames=2).frames
    assert set(stage.unet.masks) == {"00111100"}
    assert len(made) == 6 + 4 + 6
    shown = frames_of(stage, stage.unet.shown[0])
    assert distance(shown[:2], shots[0][-2:]) < NEAR
    assert distance(shown[-2:], shots[1][:2]) < NEAR
    grey = encode_video(stage.vae, torch.zeros(1, 3, 1, 64, 96))
    torch.testing.assert_close(stage.unet.shown[0][:, :, 2:6], grey.expand(-1, -1, 4, -1, -1))
    assert distance(made[6], shots[0][-1]) < distance(made[6], shots[1][0])
    assert distance(made[9], shots[1][0]) < distance(made[9], shots[0][-1])


def test_the_last_frames_are_the_beginning_of_every_recursion(stage, shots):
    made = ExtensionPipeline(stage)(PROMPT, shots[0], recursions=2, context_frames=4).frames
    assert set(stage.unet.masks) == {"0000" + "1" * 12}
    assert len(made) == 6 + 2 * 12
    shown = frames_of(stage, stage.unet.shown[0])
    assert distance(shown[:4], shots[0][-4:]) < NEAR
    again = stage.unet.shown[2]  # by what repeats the last frame, four of its kind
    torch.testing.assert_close(
        again[:, :, :4], stage.unet.shown[0][:, :, 3:4].expand(-1, -1, 4, -1, -1), atol=1e-2, rtol=0
    )


def test_a_loop_leads_from_the_end_of_a_video_to_its_beginning(stage, shots):
    video = np.concatenate((shots[0][:2], shots[1][:2]))
    made = TransitionPipeline(stage)(PROMPT, video, video, num_frames=3, context_frames=1).frames
    assert np.array_equal(made[:4], made[-4:])
    between = made[4:7]
    assert distance(between[0], video[-1]) < distance(between[0], video[0])
    assert distance(between[2], video[0]) < distance(between[2], video[-1])
    still = TransitionPipeline(stage)(PROMPT, video[:1], video[:1], num_frames=3).frames
    assert max(distance(frame, video[0]) for frame in still) < NEAR


def test_a_long_video_goes_on_from_several_frames(stage, base, shots):
    pipeline = LongVideoPipeline(base)
    pipeline._extension = ExtensionPipeline(stage)
    settings = {"video": shots[0], "method": "conditioned", "num_inference_steps": 2, "guidance_scale": 1.0}
    made = pipeline(PROMPT, 20, context_frames=3, **settings).frames
    assert set(stage.unet.masks) == {"000" + "1" * 13}
    assert np.array_equal(made[:6], shots[0])
    assert len(made) == 20


@pytest.fixture(scope="module")
def untrained(base):
    torch.manual_seed(0)
    config = base.config.replaced(num_inference_steps=2, num_frames=8, guidance_scale=1.0)
    return replace(base, name="extension", config=config, unet=build_unet(SMALL))


def test_a_real_network_reads_every_frame_that_it_is_shown(untrained, shots):
    """With the same seed only what is shown can make a difference, and frames beyond the context make none."""
    video = shots[0][:, :32, :32]
    other = 255 - video
    extend, join = ExtensionPipeline(untrained), TransitionPipeline(untrained)
    plain = extend(PROMPT, video, num_frames=6, context_frames=2).frames[6:]
    for frame, differs in ((-1, True), (-2, True), (-3, False)):
        changed = video.copy()
        changed[frame] = other[frame]
        made = extend(PROMPT, changed, num_frames=6, context_frames=2).frames[6:]
        assert (distance(made, plain) > 0.5) == differs, frame
    plain = join(PROMPT, video, video, num_frames=3, context_frames=2).frames[6:9]
    for frame, differs in ((0, True), (1, True), (2, False)):
        changed = video.copy()
        changed[frame] = other[frame]
        made = join(PROMPT, video, changed, num_frames=3, context_frames=2).frames[6:9]
        assert (distance(made, plain) > 0.5) == differs, frame


def test_the_reconstruction_is_as_near_as_these_tests_suppose(base, shots):
    assert distance(frames_of(base, encode_video(base.vae, to_video(shots[0], CPU))), shots[0]) < NEAR / 2
