"""Longer clips: what is given stays, and what follows goes on from it."""

import pytest
import torch

from lavie import TextToVideoPipeline
from lavie.errors import Cancelled, UsageError
from lavie.job import Job
from lavie.long_video import LongVideoSettings
from lavie.long_video.replacement import continuation_rounds, continued
from lavie.models.latents import decode_latents
from lavie.pipelines.text_to_video import sample_text_to_video

PROMPT = "a red ball moving left over green grass"
DEVICE = torch.device("cpu")


@pytest.fixture(scope="module")
def stage():
    return TextToVideoPipeline.from_pretrained("lavie-tiny", device="cpu").stage


@pytest.fixture(scope="module")
def text(stage):
    return stage.embed([PROMPT], "")


@pytest.fixture(scope="module")
def clip(stage, text):
    return made(stage, text, seed=1)


def made(stage, text, seed):
    return sample_text_to_video(Job.seeded(stage.unet, text, stage.config, [seed], DEVICE))


def extended(stage, text, clip, num_frames, context_frames=4, seed=5, steps=3, window=None, settings=None, **of_job):
    """The new frames alone."""
    config = stage.config.replaced(num_inference_steps=steps, num_frames=window)
    job = Job.seeded(stage.unet, text, config, range(seed, seed + len(clip)), DEVICE, **of_job)
    return continued(job, clip, num_frames, LongVideoSettings(context_frames, **(settings or {})))


@pytest.mark.parametrize(("num_frames", "context_frames"), [(1, 1), (12, 4), (13, 4), (30, 8), (3, 15)])
def test_as_many_finite_frames_as_asked_follow_and_the_given_ones_stay(stage, text, clip, num_frames, context_frames):
    given = clip.clone()
    new = extended(stage, text, given, num_frames, context_frames, steps=2)
    assert new.shape == (1, 4, num_frames, 8, 12)
    assert new.isfinite().all()
    assert new.std() > 0.1
    assert torch.equal(given, clip)


def test_the_new_frames_go_on_where_the_clip_ends(stage):
    """The step into the new frames is small beside the hard cut to an independent clip of the same prompt, of something
    that can go on for ever: what travels has left the image by then."""
    steps, text = stage.config.num_inference_steps, stage.embed(["a red ball standing still over green grass"], "")
    clip = made(stage, text, seed=1)
    video = decode_latents(stage.vae, torch.cat((clip, extended(stage, text, clip, 12, steps=steps)), dim=2))
    other = decode_latents(stage.vae, made(stage, text, seed=99)[:, :, :1])
    joint = (video[:, :, 16] - video[:, :, 15]).abs().mean()
    cut = (other[:, :, 0] - video[:, :, 15]).abs().mean()
    inside = (video[:, :, 1:16] - video[:, :, :15]).abs().mean()
    print(f"joint {joint:.4f}, hard cut {cut:.4f}, inside the given clip {inside:.4f}")
    assert joint < 0.8 * cut


def test_the_same_seed_extends_alike_and_another_differently(stage, text, clip):
    once, again, other = (extended(stage, text, clip, 6, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_clips_of_a_batch_are_extended_as_alone_with_seeds_that_count_up(stage, text, clip):
    both = torch.cat((clip, made(stage, text, seed=2)))
    together = extended(stage, text, both, 5, seed=7)
    for number, one in enumerate(both):
        alone = extended(stage, text, one[None], 5, seed=7 + number)
        torch.testing.assert_close(together[number : number + 1], alone, atol=2e-3, rtol=1e-3)


def test_halves_in_turn_extend_alike(stage, text, clip):
    together, in_turn = (extended(stage, text, clip, 5, sequential_guidance=each) for each in (False, True))
    torch.testing.assert_close(together, in_turn, atol=2e-3, rtol=1e-3)


def test_progress_counts_the_steps_of_all_rounds_and_shows_every_clip_so_far(stage, text, clip):
    told = []
    extended(stage, text, clip, 14, window=8, callback=lambda *each: told.append(each))
    assert [each[:3] for each in told] == [("extension", done, 12) for done in range(1, 13)]
    assert all(torch.equal(x0[:, :, :4], clip[:, :, -4:]) for *_, x0 in told[:3])


@pytest.mark.parametrize("anchor", [0.0, 0.4])
def test_a_seam_is_what_the_free_network_made_of_the_last_known_frame(stage, text, clip, anchor):
    """What the free network's version of it is off by is taken back from the new frames, less from each to the next."""
    made = {
        frames: extended(stage, text, clip, 12, steps=5, settings={"anchor": anchor, "seam_frames": frames})
        for frames in (0, 1, 6)
    }
    assert all(each.isfinite().all() for each in made.values())
    faded = (made[6] - made[1]).square().mean((0, 1, 3, 4)).sqrt()
    assert bool((faded[:6] > 1e-3).all())
    torch.testing.assert_close(made[6][:, :, 6:], made[1][:, :, 6:])  # beyond the seam nothing is taken back
    share = (faded[1:6] / faded[1]).tolist()  # frame 1 differs by 5 sevenths of the jump, then 4, 3, 2, 1
    assert share == pytest.approx([1, 4 / 5, 3 / 5, 2 / 5, 1 / 5], rel=1e-3)


def test_without_a_seam_known_frames_hold_the_new_ones_to_the_last_step(stage, text, clip):
    """The new frames are those of the network that is shown the true ones in every step, and differ from those that
    follow frames which it was left to change."""
    hard, soft = (
        extended(stage, text, clip, 12, steps=5, settings={"seam_frames": frames})[:, :, 7:] for frames in (0, 4)
    )
    assert not torch.allclose(hard, soft, atol=1e-3)


def test_cancelling_leaves_the_round(stage, text, clip):
    def cancel(stage, done, *_):
        if done == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        extended(stage, text, clip, 5, callback=cancel)


@pytest.mark.parametrize(
    ("given", "num_frames", "context", "window", "rounds"),
    [
        (16, 12, 4, 16, [(4, 12)]),
        (16, 5, 4, 16, [(4, 5)]),
        (4, 24, 4, 16, [(4, 12), (4, 12)]),
        (4, 13, 4, 16, [(4, 12), (15, 1)]),
        (1, 3, 1, 2, [(1, 1)] * 3),
    ],
)
def test_clips_are_as_long_as_the_model_is_used_to(given, num_frames, context, window, rounds):
    assert continuation_rounds(given, num_frames, context, window) == rounds


@pytest.mark.parametrize(
    ("num_frames", "context_frames", "message"),
    [
        (0, 4, "number of frames"),
        (20_000, 4, "number of frames"),
        (9_999, 4, "number of frames"),
        (4, 0, "between 1 and 15"),
        (4, 16, "between 1 and 15"),
        (4, 5, "only 3"),
        (4, 4, "seam frames must be between 0 and 64, not -1"),
    ],
)
def test_what_cannot_be_extended_is_refused(stage, text, clip, num_frames, context_frames, message):
    settings = {"seam_frames": -1} if "not -1" in message else {}
    given = clip[:, :, :3] if message == "only 3" else clip
    with pytest.raises(UsageError, match=message):
        extended(stage, text, given, num_frames, context_frames, settings=settings)


def test_what_is_no_latents_is_refused(stage, text, clip):
    for broken in (clip[0], clip[:, :3], clip * float("nan")):
        with pytest.raises(UsageError, match="latents"):
            extended(stage, text, broken, 4)
