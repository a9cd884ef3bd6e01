"""Temporal attention done in another way, and a text for every frame: what changes, and what must not."""

import pytest
import torch
from support.guidance import guided
from support.networks import STAGES, TWO_LEVELS

from lavie.errors import UsageError
from lavie.long_video.free_long import _near, spectral_blend
from lavie.long_video.free_noise import shuffled_noise, windowed
from lavie.models import build_unet
from lavie.sampling import TextCondition, motion_bias, seeded
from lavie.sampling.denoise import WHOLE
from lavie.sampling.frequencies import low_pass, mixed
from lavie.sampling.motion import toeplitz_band

STRATEGIES = {
    "windows": windowed(4, 2),
    "blended frequencies": spectral_blend(4),
    "a band": motion_bias(2.0),
    "a band in windows": motion_bias(2.0, windowed(4, 2)),
}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(TWO_LEVELS)


def inputs(frames, batch=2, images=0):
    sample = torch.randn(batch, 4, frames + images, 6, 5, generator=seeded(1))
    text = torch.randn(batch, *([1 + images] if images else []), 7, 16, generator=seeded(2))
    return sample, torch.tensor([17, 640])[:batch], text


class Spy:
    """Attends to nothing, and remembers what it was given: [batch, frames, pixels, channels]."""

    def __init__(self):
        self.seen = []

    def __call__(self, x, bias=None):
        self.seen.append((x.clone(), bias))
        return x


# -- the hook ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_strategy_that_attends_among_all_frames_changes_nothing(unet):
    sample, timestep, text = inputs(6)
    plain, hooked = (unet(sample, timestep, text, strategy=each) for each in (None, lambda attend, x: attend(x)))
    assert torch.equal(plain, hooked)


@pytest.mark.parametrize("name", STRATEGIES)
@torch.no_grad()
def test_a_strategy_changes_a_long_clip(unet, name):
    sample, timestep, text = inputs(9)
    changed, plain = (unet(sample, timestep, text, strategy=each) for each in (STRATEGIES[name], None))
    assert changed.isfinite().all()
    assert not torch.allclose(changed, plain, atol=1e-3)


@pytest.mark.parametrize("name", ["windows", "blended frequencies"])
@torch.no_grad()
def test_a_clip_of_one_window_attends_as_ever(unet, name):
    sample, timestep, text = inputs(4)
    assert torch.equal(unet(sample, timestep, text, strategy=STRATEGIES[name]), unet(sample, timestep, text))


@torch.no_grad()
def test_images_beside_a_video_know_of_no_strategy(unet):
    sample, timestep, text = inputs(6, images=2)
    joint = unet(sample, timestep, text, num_images=2, strategy=STRATEGIES["windows"])
    alone = unet(sample[:, :, :6], timestep, text[:, 0], strategy=STRATEGIES["windows"])
    torch.testing.assert_close(joint[:, :, :6], alone, **CLOSE)
    assert torch.equal(joint[:, :, 6:], unet(sample, timestep, text, num_images=2)[:, :, 6:])


@pytest.mark.parametrize("name", STRATEGIES)
def test_recomputed_blocks_give_the_same_gradients(name):
    sample, timestep, text = inputs(7, batch=1)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        unet = build_unet(TWO_LEVELS)
        unet.gradient_checkpointing = recompute
        unet(sample, timestep, text, strategy=STRATEGIES[name]).square().mean().backward()
        gradients.append({name: p.grad for name, p in unet.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-7, rtol=1e-5, msg=name)


@torch.no_grad()
def test_both_halves_of_the_guidance_are_attended_alike(unet):
    sample, timestep, text = inputs(9, batch=1)
    text = TextCondition.of(text, text * 0.5)
    together = guided(unet, text, 2.0, strategy=STRATEGIES["windows"])(sample, timestep[0], WHOLE)
    halves = [unet(sample, timestep, half, strategy=STRATEGIES["windows"]) for half in (text.negative, text.positive)]
    torch.testing.assert_close(together, 2 * halves[1] - halves[0], **CLOSE)


# -- windows (FreeNoise) -----------------------------------------------------------------------------------------------


def test_every_window_holds_as_many_frames_and_equal_outputs_fuse_to_themselves():
    x, spy = torch.randn(1, 11, 3, 2, generator=seeded(1)), Spy()
    torch.testing.assert_close(windowed(4, 2)(spy, x), x)
    assert {seen.shape[1] for seen, _ in spy.seen} == {4}
    assert torch.equal(torch.cat([seen[:, :2] for seen, _ in spy.seen[:4]], dim=1), x[:, :8])


def test_a_frame_is_what_the_window_says_in_whose_middle_it_is():
    """Windows that disagree by 1 leave no step between two frames as large as that."""
    values = iter(range(10))
    fused = windowed(8, 6)(lambda x: torch.full_like(x, float(next(values))), torch.zeros(1, 16, 1, 1)).flatten()
    assert (fused.diff() >= 0).all()
    assert fused.diff().max() < 0.6
    assert (fused[0], fused[-1]) == (0, 4)


def test_long_noise_is_the_noise_of_the_window_in_another_order():
    noise = torch.randn(2, 4, 8, 2, 3, generator=seeded(1))
    longer = shuffled_noise(noise, 27, 4, [seeded(3), seeded(4)])
    assert longer.shape == (2, 4, 27, 2, 3)
    assert torch.equal(longer[:, :, :8], noise)
    for clip, own in zip(longer, noise, strict=True):
        for start in range(0, 20, 4):
            assert torch.equal(sorted_frames(clip[:, start : start + 8]), sorted_frames(own))
    assert not torch.equal(longer[0, :, 8:16], noise[0])


def sorted_frames(clip):
    return clip[:, clip[0, :, 0, 0].argsort()]


def test_long_noise_depends_on_the_seed_of_its_clip_alone():
    noise = torch.randn(2, 4, 8, 2, 3, generator=seeded(1))
    both = shuffled_noise(noise, 30, 2, [seeded(3), seeded(4)])
    assert torch.equal(both[1:], shuffled_noise(noise[1:], 30, 2, [seeded(4)]))
    assert torch.equal(shuffled_noise(noise, 8, 4, [seeded(3), seeded(4)]), noise)


@pytest.mark.parametrize("group", [0, 9])
def test_groups_that_no_window_holds_are_refused(group):
    with pytest.raises(UsageError, match="between 1 and 8 frames"):
        shuffled_noise(torch.zeros(1, 4, 8, 1, 1), 20, group, [seeded(0)])


def test_windows_that_cannot_move_are_refused():
    with pytest.raises(UsageError, match="cannot move"):
        windowed(4, 4)


# -- frequencies (FreeLong, FreeInit) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["butterworth", "gaussian"])
def test_low_frequencies_and_high_ones_of_a_signal_are_the_signal(kind):
    signal = torch.randn(2, 4, 9, 6, 5, generator=seeded(1))
    passed = low_pass(signal.shape[2:], (0.25, 0.25, 0.25), kind)
    torch.testing.assert_close(mixed(signal, signal, passed, (2, 3, 4)), signal, **CLOSE)
    low, high = mixed(signal, 0 * signal, passed, (2, 3, 4)), mixed(0 * signal, signal, passed, (2, 3, 4))
    torch.testing.assert_close(low + high, signal, **CLOSE)
    assert low.diff(dim=2).std() < high.diff(dim=2).std()


@pytest.mark.parametrize(("kind", "at_cutoff"), [("butterworth", 0.5), ("gaussian", 0.6065)])
def test_a_filter_passes_the_mean_and_falls_off_at_its_cutoff(kind, at_cutoff):
    passed = low_pass((16, 8), (0.25, 0.5), kind)
    assert passed[0, 0] == 1
    assert passed[2, 0].item() == pytest.approx(at_cutoff, abs=1e-4)
    assert passed[0, 2].item() == pytest.approx(at_cutoff, abs=1e-4)
    assert torch.allclose(passed[1:], passed[1:].flip(0))
    assert passed.min() < 1e-3


def test_what_is_no_filter_is_refused():
    with pytest.raises(UsageError, match="butterworth or gaussian"):
        low_pass((4,), (0.25,), "box")
    with pytest.raises(UsageError, match="above 0"):
        low_pass((4,), (0.0,))
    with pytest.raises(UsageError, match="above 0"):
        spectral_blend(4, cutoff=0.0)


def test_slow_changes_come_from_all_frames_and_fast_ones_from_near_ones():
    time = torch.arange(32) / 32 * 2 * torch.pi
    slow, fast = time.sin(), (16 * time).cos()
    answers = iter((slow + 0 * fast, 7 * slow + fast))
    blended = spectral_blend(8)(lambda x, bias=None: next(answers)[None, :, None, None], torch.zeros(1, 32, 1, 1))
    torch.testing.assert_close(blended.flatten(), slow + fast, atol=0.25, rtol=0)


def test_a_frame_has_as_many_near_ones_everywhere():
    near = _near(10, 4)
    assert (near.sum(1) == 4).all()
    assert near.diagonal().all()
    assert near[5].nonzero().flatten().tolist() == [3, 4, 5, 6]


# -- a band (VSTAR) ----------------------------------------------------------------------------------------------------


def test_the_band_is_symmetric_and_falls_off_from_the_diagonal():
    band = toeplitz_band(12, 3.0)
    assert torch.equal(band, band.T)
    assert (band.diagonal() == 3).all()
    assert torch.equal(band[0, :-1], band[1, 1:])
    assert (band[0].diff() < 0).all()


@torch.no_grad()
def test_no_motion_is_no_band(unet):
    assert motion_bias(0) is None
    strategy = windowed(4, 2)
    assert motion_bias(0, strategy) is strategy
    sample, timestep, text = inputs(6)
    weak = unet(sample, timestep, text, strategy=motion_bias(1e-7))
    torch.testing.assert_close(weak, unet(sample, timestep, text), **CLOSE)


def test_a_great_motion_lets_every_frame_see_itself_alone():
    spy = Spy()
    motion_bias(1000.0, windowed(4, 2))(spy, torch.zeros(1, 6, 1, 1))
    assert all((bias.softmax(-1).diagonal() > 0.99).all() for _, bias in spy.seen)
    assert {bias.shape for _, bias in spy.seen} == {(4, 4)}


@pytest.mark.parametrize("motion", [-0.1, float("inf"), float("nan")])
def test_a_motion_that_cannot_be_is_refused(motion):
    with pytest.raises(UsageError, match="Motion must be 0 or more"):
        motion_bias(motion)


# -- a text for every frame --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_same_text_for_every_frame_is_that_text_for_all(unet):
    sample, timestep, text = inputs(5)
    per_frame = text[:, None].expand(-1, 5, -1, -1)
    torch.testing.assert_close(unet(sample, timestep, per_frame), unet(sample, timestep, text), **CLOSE)


@torch.no_grad()
def test_the_upscaler_takes_a_text_for_every_frame_too():
    torch.manual_seed(0)
    unet = build_unet(STAGES["upscaler"])
    sample, text = torch.randn(1, 7, 3, 6, 5, generator=seeded(1)), torch.randn(1, 7, 16, generator=seeded(2))
    outs = [unet(sample, 5, each, torch.tensor([3])) for each in (text, text[:, None].expand(-1, 3, -1, -1))]
    torch.testing.assert_close(*outs, **CLOSE)


@torch.no_grad()
def test_another_text_at_one_frame_changes_that_frame_most(unet):
    sample, timestep, text = inputs(5)
    per_frame = text[:, None].repeat(1, 5, 1, 1)
    per_frame[:, 3] *= -1
    change = (unet(sample, timestep, per_frame) - unet(sample, timestep, text)).abs().mean((0, 1, 3, 4))
    assert change.argmax() == 3


@torch.no_grad()
def test_a_region_is_told_the_texts_of_its_own_frames(unet):
    sample, timestep, text = inputs(6, batch=1)
    per_frame = TextCondition.of(torch.randn(1, 6, 7, 16, generator=seeded(5)), text)
    assert per_frame.frames == 6
    part = (slice(2, 5), slice(None), slice(None))
    cut = guided(unet, per_frame, 3.0)(sample[(..., *part)], timestep[0], part)
    alone = guided(unet, per_frame.at(slice(2, 5)), 3.0)(sample[(..., *part)], timestep[0], WHOLE)
    assert torch.equal(cut, alone)


def test_a_text_per_frame_fits_a_negative_one_of_another_length():
    text = TextCondition.of(torch.randn(1, 5, 6, 8), torch.randn(2, 4, 8))
    assert text.positive.shape == text.negative.shape == (2, 5, 12, 8)
    assert text.at(torch.tensor([4, 4, 0])).frames == 3
    same = TextCondition.of(torch.randn(1, 6, 8), torch.randn(1, 6, 8))
    assert same.frames is None
    assert same.at(slice(2, 3)) is same


def test_texts_for_two_numbers_of_frames_are_refused():
    with pytest.raises(UsageError, match="for 5 frames, the negative for 6"):
        TextCondition.of(torch.randn(1, 5, 6, 8), torch.randn(1, 6, 6, 8))
