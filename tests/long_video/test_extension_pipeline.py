"""A clip goes on by a UNet that is shown its end: what is given stays, and nothing is doubled or lost at the joints."""

import json

import numpy as np
import pytest
import torch
from support.images import alike_neighbours
from torch import nn

from lab.sprites.held_out import held_out_scenes, rendered_clips
from lavie import ExtensionPipeline
from lavie.checkpoints import load_unet, save_unet
from lavie.config import BUNDLED, find_family
from lavie.errors import Cancelled, LavieError, UsageError
from lavie.job import Job
from lavie.long_video import LongVideoSettings
from lavie.long_video.conditioned import continued
from lavie.models import build_unet
from lavie.models.config import UNetConfig
from lavie.sampling import TextCondition, seeded
from lavie.sampling.conditioning import first_frame_condition, mask_condition
from lavie.sampling.schedule import alphas_cumprod

CPU = torch.device("cpu")
TEXT = TextCondition(torch.zeros(1, 77, 8), torch.zeros(1, 77, 8))
GREY = torch.full((1, 4, 1, 2, 3), 0.5)
PROMPT = "a red ball moving left over green grass"


class Continues(nn.Module):
    """Sees clean latents that start with the last known frame and rise by 0.01 a frame; keeps what it was given.

    off: how far its version of all of them is off.
    """

    off = 0.0

    def __init__(self, channels):
        super().__init__()
        self.config = UNetConfig(in_channels=channels)
        self.seen = []

    def forward(self, sample, timestep, states, class_labels=None):
        self.seen.append(sample[:, 4:])
        known = self._known(sample)
        start = sample[:, -4:, known - 1 : known]
        after = (torch.arange(sample.shape[2]) - known + 1).clamp(min=0)
        clean = start + self.off + 0.01 * after[:, None, None]
        alpha = alphas_cumprod()[int(timestep)]
        return (sample[:, :4] - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    def _known(self, sample):
        return 1 if self.config.in_channels == 8 else int((sample[0, 4, :, 0, 0] == 0).sum())


@pytest.fixture(scope="module")
def config():
    """Ends at the clean latents exactly."""
    return find_family(BUNDLED).base.replaced(num_inference_steps=2, spacing="linspace", guidance_scale=1.0)


@pytest.fixture
def context():
    return torch.randn(2, 4, 3, 2, 3, generator=seeded(1))


def extended(unet, context, config, num_frames, grey=None, **settings):
    job = Job.seeded(unet, TEXT, config, range(len(context)), CPU)
    return continued(job, context, num_frames, LongVideoSettings(context.shape[2], **settings), grey)


def expected(context, num_frames):
    rise = 0.01 * torch.arange(1, num_frames + 1)
    return context[:, :, -1:] + rise[None, None, :, None, None]


def test_recursions_by_the_first_frame_go_on_without_a_frame_doubled_or_lost(config, context):
    unet = Continues(8)
    made = extended(unet, context[:, :, -1:], config, num_frames=60)
    torch.testing.assert_close(made, expected(context, 60), atol=2e-3, rtol=0)
    torch.testing.assert_close(made.diff(dim=2), torch.full((2, 4, 59, 2, 3), 0.01), atol=5e-4, rtol=0)
    assert len(unet.seen) == 4 * 2
    assert torch.equal(unet.seen[0], first_frame_condition(context[:, :, -1:], 16))


def test_recursions_by_the_mask_go_on_from_several_frames(config, context):
    unet = Continues(9)
    made = extended(unet, context, config, num_frames=31, grey=GREY)
    torch.testing.assert_close(made, expected(context, 31), atol=2e-3, rtol=0)
    mask, latents = unet.seen[0].split((1, 4), dim=1)
    assert mask[0, 0, :, 0, 0].tolist() == [0.0] * 3 + [1.0] * 13
    assert torch.equal(latents[:, :, :3], context)
    assert torch.equal(latents[:, :, 3:], GREY.expand(2, -1, 13, -1, -1))


def test_the_mask_is_the_official_one(golden):
    loop = golden("loop_seine")
    for name in ("ddpm_onelast1", "ddim_first1"):
        mask, latents = loop[f"out/{name}.mask"], loop[f"out/{name}.masked_latents"]
        missing = mask[0, 0, :, 0, 0] == 1
        condition = mask_condition(latents, missing, latents[:, :, 7:8])
        assert torch.equal(condition[:, :1], mask)
        assert torch.equal(condition[:, 1:][:, :, ~missing], latents[:, :, ~missing])


@pytest.mark.parametrize("seam_frames", [0, 4])
def test_every_recursion_comes_back_in_even_steps_to_what_the_network_makes(config, context, seam_frames):
    unet = Continues(8)
    unet.off = 0.5
    made = extended(unet, context[:, :, -1:], config, 30, seam_frames=seam_frames)
    back = (torch.arange(1, 16) / (seam_frames + 1)).clamp(max=1)
    errors = 0.5 * torch.cat((back, 1 + back))  # the second recursion goes on from a frame that is off by 0.5
    difference = made - expected(context, 30)
    torch.testing.assert_close(difference, errors[None, None, :, None, None].expand_as(made), atol=3e-3, rtol=0)


def test_drift_is_corrected_to_the_first_clip_that_was_made(config, context):
    plain, off, on = (
        extended(Continues(8), context[:, :, -1:], config, 60, drift_correction=strength, seam_frames=0)
        for strength in (0, 0.0, 1.0)
    )
    assert torch.equal(plain, off)
    assert torch.equal(on[:, :, :15], plain[:, :, :15])
    first, last = on[:, :, :15].mean((2, 3, 4)), on[:, :, 45:].mean((2, 3, 4))
    torch.testing.assert_close(last, first, atol=2e-2, rtol=0)  # of clips with their known frame
    assert (plain[:, :, 45:].mean((2, 3, 4)) - first).min() > 0.4


@pytest.mark.parametrize(
    ("channels", "known", "message"), [(8, 2, "context to 1"), (4, 1, "extends no clips"), (9, 1, "grey")]
)
def test_a_network_is_shown_what_it_can_read_only(config, context, channels, known, message):
    with pytest.raises(UsageError, match=message):
        extended(Continues(channels), context[:, :, :known], config, 4)


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The bundled family with an extension stage that still ignores the frame it is shown: the base, widened."""
    folder = tmp_path_factory.mktemp("family")
    bundled = find_family(BUNDLED)
    stages = json.loads((bundled.folder / "family.json").read_text())
    for stage in ("base", "interpolation", "upscaler"):
        parts = ("unet", "vae", "text_encoder", "tokenizer")
        stages[stage].update({part: str(bundled.path(stages[stage][part])) for part in parts})
    stages["extension"] = {**stages["base"], "unet": "extension", "num_inference_steps": 2}
    (folder / "extension").mkdir()
    (folder / "family.json").write_text(json.dumps({**stages, "name": "with an extension"}))
    base = load_unet(bundled.path("base"), "base", torch.float32)
    wide = build_unet({**base.config.to_dict(), "in_channels": 8})
    weights = base.state_dict()
    weights["conv_in.weight"] = torch.cat((weights["conv_in.weight"], torch.zeros_like(weights["conv_in.weight"])), 1)
    wide.load_state_dict(weights)
    save_unet(wide, folder / "extension" / "model.safetensors", config_file=True)
    return folder


@pytest.fixture(scope="module")
def pipeline(family):
    return ExtensionPipeline.from_pretrained(family, device="cpu")


@pytest.fixture(scope="module")
def clips():
    return list(rendered_clips(held_out_scenes(2, seed=5), 4, 64, 96))


def test_the_given_frames_come_back_and_recursions_follow(pipeline, clips):
    video = pipeline(PROMPT, clips[0], seed=3, recursions=2)
    assert video.frames.shape == (4 + 2 * 15, 64, 96, 3)
    assert np.array_equal(video.frames[:4], clips[0])
    assert alike_neighbours(video.frames[3:]) > 0.5
    assert video.fps == 8
    assert (video.metadata["num_frames"], video.metadata["context_frames"]) == (30, 1)


def test_fewer_frames_are_the_first_of_more(pipeline, clips):
    many, few = (pipeline(PROMPT, clips[0], seed=3, num_frames=number).frames for number in (19, 16))
    assert len(many) == 4 + 19
    assert np.abs(many[: 4 + 16].astype(int) - few).max() <= 2


def test_only_the_last_frame_and_the_seed_decide_what_follows(pipeline, clips):
    whole, again, end = (pipeline(PROMPT, clip, seed=3).frames for clip in (clips[0], clips[0], clips[0][-1:]))
    assert np.array_equal(whole, again)
    assert np.array_equal(whole[3:], end)
    assert not np.array_equal(whole, pipeline(PROMPT, clips[0], seed=4).frames)


def test_a_batch_is_extended_as_its_clips_are_alone(pipeline, clips):
    prompts = [PROMPT, "a white star over the sea"]
    together = pipeline.generate(prompts, clips, [3, 8], num_frames=5)
    alone = pipeline(prompts[1], clips[1], seed=8, num_frames=5)
    assert np.abs(together[1].frames.astype(int) - alone.frames).max() <= 2


def test_frames_of_any_size_keep_it(pipeline, clips):
    video = pipeline(PROMPT, clips[0][:, :52, :70], num_frames=3)
    assert video.frames.shape == (7, 52, 70, 3)


def test_cancelling_leaves_the_recursion(pipeline, clips):
    told = []

    def cancel(*step):
        told.append(step[:3])
        if len(told) == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        pipeline(PROMPT, clips[0], recursions=2, callback=cancel)
    assert told == [("extension", done, 4) for done in (1, 2, 3)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "number of frames"),
        ({"recursions": 0}, "number of frames"),
        ({"recursions": 1000}, "number of frames"),
        ({"num_frames": 4, "recursions": 1}, "not both"),
        ({"context_frames": 16}, "between 1 and 15"),
        ({"context_frames": 2}, "context to 1"),
        ({"context_frames": 5}, "fewer"),
        ({"guidance_scale": -1}, "guidance scale"),
        ({"drift_correction": 2}, "between 0 and 1"),
        ({"seam_frames": -1}, "seam frames must be between 0 and 64, not -1"),
    ],
)
def test_what_cannot_be_extended_is_refused(pipeline, clips, settings, message):
    with pytest.raises(UsageError, match=message):
        pipeline(PROMPT, clips[0], **settings)


def test_videos_that_do_not_pair_up_are_refused(pipeline, clips):
    with pytest.raises(UsageError, match="pair up"):
        pipeline.generate([PROMPT], clips, [1, 2])
    with pytest.raises(UsageError, match="differ in size"):
        pipeline.generate([PROMPT] * 2, [clips[0], clips[1][:, :56]], [1, 2])


def test_a_family_without_the_stage_says_so(tmp_path):
    (tmp_path / "lavie_base.pt").touch()
    with pytest.raises(LavieError, match="no extension stage"):
        ExtensionPipeline.from_pretrained(tmp_path)
