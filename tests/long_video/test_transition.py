"""From one shot to another: both sides stay, the network is shown them, and the new frames fit on both ends."""

import numpy as np
import pytest
import torch
from torch import nn

from lab.sprites import sample_scene
from lab.sprites.held_out import rendered_clips
from lavie import TransitionPipeline
from lavie.cli import main
from lavie.config import BUNDLED, find_family
from lavie.errors import Cancelled, UsageError
from lavie.job import Job
from lavie.models.config import UNetConfig
from lavie.pipelines.resize import resized_frames
from lavie.pipelines.transition import sample_transition
from lavie.sampling import TextCondition, seeded
from lavie.video import read_video, write_video

TEXT = TextCondition(torch.zeros(1, 77, 8), torch.zeros(1, 77, 8))
GREY = torch.full((1, 4, 1, 2, 3), 0.5)
PROMPT = "a red ball moving right over green grass"


class Watched(nn.Module):
    """Predicts nothing and keeps what it was given."""

    def __init__(self, channels):
        super().__init__()
        self.config = UNetConfig(in_channels=channels)
        self.seen = []

    def forward(self, sample, timestep, states, class_labels=None):
        self.seen.append(sample)
        return torch.zeros_like(sample[:, :4])


@pytest.fixture(scope="module")
def config():
    return find_family(BUNDLED).base.replaced(num_inference_steps=3, guidance_scale=1.0, prediction_type="epsilon")


def between(unet, config, num_frames=3, **options):
    before, after = (torch.randn(1, 4, count, 2, 3, generator=seeded(count)) for count in (2, 4))
    job = Job.seeded(unet, TEXT, config, [0], torch.device("cpu"))
    made = sample_transition(job, before, after, num_frames, **options)
    return made, before, after


def test_the_mask_form_is_shown_both_sides(config):
    unet = Watched(9)
    made, before, after = between(unet, config, grey=GREY)
    assert made.shape == (1, 4, 3, 2, 3)
    for sample in unet.seen:
        mask, shown = sample[:, 4:5], sample[:, 5:]
        assert mask[0, 0, :, 0, 0].tolist() == [0] * 2 + [1] * 3 + [0] * 4
        assert torch.equal(shown, torch.cat((before, GREY.expand(-1, -1, 3, -1, -1), after), dim=2))


def test_the_base_finds_both_sides_in_their_places_at_every_step(config):
    unet = Watched(4)
    made, before, after = between(unet, config)
    assert made.shape == (1, 4, 3, 2, 3)
    likeness = []
    for sample in unet.seen:
        given, found = torch.cat((before, after), dim=2), torch.cat((sample[:, :, :2], sample[:, :, 5:]), dim=2)
        likeness.append(torch.corrcoef(torch.stack((given.flatten(), found.flatten())))[0, 1].item())
    assert likeness == sorted(likeness)
    assert likeness[-1] > 0.99


@pytest.mark.parametrize("channels", [8, 9])
def test_a_network_that_cannot_be_shown_both_sides_is_refused(config, channels):
    with pytest.raises(UsageError, match="both sides"):
        between(Watched(channels), config)


@pytest.fixture(scope="module")
def pipeline():
    return TransitionPipeline.from_pretrained(BUNDLED, device="cpu")


@pytest.fixture(scope="module")
def shots():
    """A ball that moves right, and the same scene's last frames as another shot."""
    scene = sample_scene(seeded(4), False, "red", "ball", "moving right", "green grass")
    (clip,) = rendered_clips([scene], 16, 64, 96)
    return clip[:4], clip[-4:]


def test_the_given_frames_come_back_and_the_new_ones_fit_on_both_ends(pipeline, shots):
    first, second = shots
    video = pipeline(PROMPT, first, second, num_frames=8, seed=1)
    assert video.frames.shape == (16, 64, 96, 3)
    assert np.array_equal(video.frames[:4], first)
    assert np.array_equal(video.frames[12:], second)
    cut = np.abs(first[-1].astype(float) - second[0]).mean()
    jumps = np.abs(np.diff(video.frames.astype(float), axis=0)).mean((1, 2, 3))
    assert max(jumps[3], jumps[11]) < cut
    assert (video.fps, video.metadata["num_frames"]) == (8, 8)


def test_the_seed_decides_and_nothing_else(pipeline, shots):
    one, again, other = (
        pipeline(PROMPT, *shots, num_frames=4, num_inference_steps=2, seed=seed).frames for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_cancel_leaves_within_a_step(pipeline, shots):
    def cancel(stage, done, total, timestep, x0):
        assert (stage, total) == ("transition", 5)
        if done == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        pipeline(PROMPT, *shots, num_inference_steps=5, callback=cancel)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"num_frames": 0}, "number of frames"), ({"context_frames": 0}, "context"), ({"seed": -1}, "seed")],
)
def test_settings_that_cannot_work_are_refused(pipeline, shots, settings, message):
    with pytest.raises(UsageError, match=message):
        pipeline(PROMPT, *shots, **settings)


def test_videos_of_two_sizes_are_refused(pipeline, shots):
    with pytest.raises(UsageError, match="differ in size"):
        pipeline(PROMPT, shots[0], shots[1][:, :56])


def test_a_second_video_of_another_size_is_brought_to_that_of_the_first(pipeline, shots):
    first, second = shots[0], shots[1][:, :, :64]
    video = pipeline(PROMPT, first, second, num_frames=2, num_inference_steps=1, resize="crop")
    assert np.array_equal(video.frames[-4:], resized_frames(second, (64, 96), "crop"))


def test_the_command_joins_two_films(shots, tmp_path, capsys):
    files = [str(tmp_path / f"{name}.mp4") for name in ("first", "second", "film")]
    for file, frames in zip(files, shots, strict=False):
        write_video(file, frames, fps=8)
    write_video(files[1], shots[1][:, :, :64], fps=8)
    command = [
        "transition",
        *files[:2],
        PROMPT,
        "--resize",
        "stretch",
        "-o",
        files[2],
        "--frames",
        "3",
        "--steps",
        "2",
        "--quiet",
    ]
    assert main([*command, "--device", "cpu"]) == 0
    assert "11 frames of 64x96 at 8 fps" in capsys.readouterr().out
    assert read_video(files[2]).frames.shape == (11, 64, 96, 3)
