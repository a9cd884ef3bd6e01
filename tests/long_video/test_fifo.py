"""FIFO-Diffusion: a queue that gives a finished frame a round, for as long as one likes."""

from itertools import islice

import pytest
import torch
from support.guidance import guided
from support.networks import TWO_LEVELS

from lavie.errors import Cancelled, UsageError
from lavie.long_video.fifo import ddim_step, fifo, frames_before, queue_windows
from lavie.models import build_unet
from lavie.sampling import TextCondition, create_schedule, seeded
from lavie.schedulers import PREDICTION_TYPES

WINDOW = 4
CLIP = torch.randn(2, 4, WINDOW, 3, 2, generator=seeded(0))
QUEUES = [(8, True), (8, False), (4, True), (4, False), (10, True), (10, False)]


def schedule_of(steps, prediction_type="epsilon"):
    return create_schedule("ddim", steps, prediction_type=prediction_type)


def frames(predict, number, steps=8, lookahead=True, clip=CLIP, **options):
    generators = [seeded(seed) for seed in range(len(clip))]
    made = fifo(predict, clip, schedule_of(steps), generators, lookahead, **options)
    return torch.cat(list(islice(made, number)), dim=2)


def still(clean, steps):
    """A network that knows that every frame is `clean`, [4, 1, h, w]."""
    schedule = schedule_of(steps)
    alpha_of = {float(t): a for t, a in zip(schedule.timesteps, schedule.alphas().float(), strict=False)}

    def predict(latents, timestep, region):
        assert timestep.shape == (1, latents.shape[2])
        alpha = torch.stack([alpha_of[float(t)] for t in timestep[0]])[:, None, None]
        return (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    return predict


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_frames_that_all_have_one_level_take_a_step_of_ddim(prediction_type):
    schedule, prediction = schedule_of(6, prediction_type), torch.randn(CLIP.shape, generator=seeded(1))
    for step in range(6):
        before, after = (alphas.float().expand(WINDOW)[:, None, None] for alphas in schedule.alphas()[step : step + 2])
        made = ddim_step(prediction, CLIP, before, after, prediction_type)
        expected = schedule.step(prediction, step, CLIP, [seeded(2)] * 2)
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)


def test_frames_of_their_own_levels_step_as_they_do_alone():
    before, after = torch.tensor([0.9, 0.5, 0.3, 0.01]), torch.tensor([0.99, 0.9, 0.5, 0.3])
    together = ddim_step(CLIP.cos(), CLIP, before[:, None, None], after[:, None, None], "v_prediction")
    for frame in range(WINDOW):
        one = slice(frame, frame + 1)
        alone = ddim_step(CLIP[:, :, one].cos(), CLIP[:, :, one], before[frame], after[frame], "v_prediction")
        assert torch.equal(together[:, :, one], alone)


@pytest.mark.parametrize(("steps", "lookahead"), QUEUES)
def test_every_place_of_the_queue_is_moved_once_a_round_from_windows_of_one_length(steps, lookahead):
    history, moved = (WINDOW // 2 if lookahead else 0), []
    for seen, number in queue_windows(steps, WINDOW, lookahead):
        assert seen.stop - seen.start == WINDOW
        assert seen.start >= 0
        assert number <= WINDOW - history
        moved += range(seen.stop - number, seen.stop)
    assert moved == list(range(history, history + steps))


@pytest.mark.parametrize(("steps", "lookahead"), QUEUES)
def test_a_perfect_prediction_gives_its_frames_for_ever(steps, lookahead):
    clean = torch.randn(4, 1, 3, 2, generator=seeded(7))
    made = frames(still(clean, steps), 20, steps, lookahead)
    assert made.shape == (2, 4, 20, 3, 2)
    assert (made[:, :, WINDOW:] - clean).abs().max() < 0.05  # what joined as noise


def test_the_queue_begins_as_the_clip_and_regions_count_its_frames():
    regions, first = [], []

    def predict(latents, timestep, region):
        regions.append((region[0].start, region[0].stop))
        first.append(latents)
        return torch.zeros_like(latents)

    frames(predict, 1, steps=WINDOW, lookahead=False)
    assert regions == [(0, 4)]
    noise = torch.randn(4, WINDOW, 3, 2, generator=seeded(0))
    alphas = schedule_of(WINDOW).alphas().float().flip(0)[1:, None, None]
    torch.testing.assert_close(first[0][0], alphas.sqrt() * CLIP[0] + (1 - alphas).sqrt() * noise)
    regions.clear()
    frames(predict, 2, steps=8, lookahead=True)
    assert frames_before(8, WINDOW, True) == 6
    assert regions[:8] == [(0, 4), (2, 6), (4, 8), (6, 10), (1, 5), (3, 7), (5, 9), (7, 11)]
    assert len(regions) == 4 * (8 - WINDOW + 2)


def test_the_memory_of_a_long_video_is_that_of_a_short_one():
    """The network and the outside see tensors of one size, however many frames have gone by."""
    sizes = []

    def predict(latents, timestep, region):
        sizes.append((latents.shape, timestep.shape, latents.untyped_storage().nbytes()))
        return torch.tanh(latents)

    generators = [seeded(0), seeded(1)]
    made = fifo(predict, CLIP, schedule_of(8), generators)
    out = {(next(made).shape, next(made).untyped_storage().nbytes()) for _ in range(40)}
    entries = 8 + WINDOW // 2
    assert {size for *_, size in sizes} == {2 * 4 * entries * 3 * 2 * 4}
    assert len(set(sizes)) == 1
    assert out == {((2, 4, 1, 3, 2), 2 * 4 * 3 * 2 * 4)}


def test_the_same_seeds_give_the_same_frames_and_a_clip_those_that_it_has_alone():
    once, again = (frames(lambda x, *_: torch.tanh(x), 6) for _ in range(2))
    assert torch.equal(once, again)
    alone = fifo(lambda x, *_: torch.tanh(x), CLIP[1:], schedule_of(8), [seeded(1)])
    torch.testing.assert_close(torch.cat(list(islice(alone, 6)), dim=2), once[1:])


def test_a_network_takes_a_level_and_a_text_for_every_frame():
    torch.manual_seed(0)
    unet = build_unet(TWO_LEVELS)
    text = TextCondition.of(torch.randn(1, 30, 7, 16, generator=seeded(1)), torch.zeros(1, 7, 16))
    made = frames(guided(unet, text, 2.0), 3)
    assert made.isfinite().all()
    same = TextCondition.of(text.positive[:, :1].expand(-1, 30, -1, -1), text.negative[:, 0])
    one = TextCondition.of(text.positive[:, 0], text.negative[:, 0])
    torch.testing.assert_close(*(frames(guided(unet, each, 2.0), 3) for each in (same, one)), atol=1e-4, rtol=1e-4)


def test_stopping_leaves_the_round():
    told = []

    def cancel(timestep):
        told.append(timestep)
        if len(told) == 6:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        frames(lambda x, *_: x, 10, after=cancel)
    assert len(told) == 6
    assert told[:4] == sorted(told[:4])


def test_fewer_steps_than_frames_of_a_clip_are_refused():
    with pytest.raises(UsageError, match="as many steps as a clip has frames, 4, or more; not 3"):
        frames(lambda x, *_: x, 1, steps=3)
