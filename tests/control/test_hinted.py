"""A control over the frames of a video: strengths, steps, frames, and what must not change."""

from dataclasses import replace

import pytest
import torch
from support import control as small
from support.guidance import guided

from lavie.control.strengths import FrameStrengths
from lavie.errors import UsageError
from lavie.lora.steps import StepStrengths
from lavie.sampling import TextCondition, blended, create_schedule, denoise, regions, seeded, spans
from lavie.sampling.control import Seen
from lavie.sampling.denoise import WHOLE
from lavie.speed import Speed

T = torch.tensor(500)


def text_with(*controls, frames=small.FRAMES):
    _, text, _ = small.inputs()
    return TextCondition(text, text * 0.5, tuple(control.over(frames) for control in controls))


def predicted(*controls, latents=None, timestep=T, region=WHOLE, scale=3.0, frames=small.FRAMES, **options):
    latents = small.inputs()[0] if latents is None else latents
    predict = guided(small.video_unet(), text_with(*controls, frames=frames), scale, **options)
    with torch.no_grad():
        return predict(latents, timestep, region)


def seen(**changed):
    latents, text, _ = small.inputs()
    return Seen(**{"latents": latents, "timesteps": T[None].float(), "text": text, "halves": ["positive"], **changed})


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_strength_0_changes_no_bit_and_strength_1_much(tmp_path):
    plain = predicted()
    assert torch.equal(predicted(small.hinted(tmp_path, strength=0.0)), plain)
    assert (predicted(small.hinted(tmp_path)) - plain).abs().mean() > 0.01


def test_what_is_added_is_proportional_to_the_strength(tmp_path):
    whole, half = (small.hinted(tmp_path, strength=s).residuals(seen()) for s in (1.0, 0.5))
    for a, b in zip(whole.skips, half.skips, strict=True):
        torch.testing.assert_close(b, a / 2)


def test_one_image_is_the_same_as_that_image_for_every_frame(tmp_path):
    video = small.inputs()[2][:1].numpy()
    held, repeated = (small.hinted(tmp_path, video=v) for v in (video, video.repeat(small.FRAMES, 0)))
    assert torch.equal(predicted(held), predicted(repeated))


def test_every_frame_follows_its_own_image(tmp_path):
    control = small.hinted(tmp_path)
    together = control.residuals(seen())
    for frame in range(small.FRAMES):
        latents, text, _ = small.inputs()
        alone = control.over(small.FRAMES).at(slice(frame, frame + 1))
        one = alone.residuals(seen(latents=latents[:, :, frame : frame + 1], text=text))
        same(together.middle[frame : frame + 1], one.middle)


def test_frames_of_strength_0_get_nothing_added(tmp_path):
    control = small.hinted(tmp_path, over_frames=FrameStrengths.parse("0: 1, 1: 0, 2: 0.5"))
    made, full = control.residuals(seen()), small.hinted(tmp_path).residuals(seen())
    for part, whole in zip(made.skips, full.skips, strict=True):
        assert not part[1].any()
        same(part[0], whole[0])
        same(part[2], whole[2] / 2)


def test_strengths_over_the_steps_and_between_start_and_end(tmp_path):
    late = small.hinted(tmp_path, over_steps=StepStrengths.parse("0: 0, 0.5: 0, 0.75: 1"))
    assert late.residuals(seen(timesteps=torch.tensor([800.0]))) is None
    assert late.residuals(seen(timesteps=torch.tensor([100.0]))) is not None
    first = small.hinted(tmp_path, between=(0.0, 0.3))
    assert first.residuals(seen(timesteps=torch.tensor([800.0]))) is not None
    assert first.residuals(seen()) is None


def test_frames_with_noise_levels_of_their_own_are_told_them(tmp_path):
    control, levels = small.hinted(tmp_path), torch.tensor([100.0, 500.0, 900.0])
    made = control.residuals(seen(timesteps=levels))
    for frame, level in enumerate(levels):
        same(made.middle[frame], control.residuals(seen(timesteps=level[None])).middle[frame])


def test_a_control_is_told_the_timestep_of_equal_noise_unless_asked_otherwise(tmp_path):
    control, told = small.hinted(tmp_path), []
    hook = control.network.model.register_forward_pre_hook(lambda _, args: told.append(args[1]))
    control.residuals(seen())
    control.residuals(seen(matched=False))
    hook.remove()
    assert [each.unique().tolist() for each in told] == [[708], [500]]


def test_halves_one_after_the_other_give_the_same(tmp_path):
    control = small.hinted(tmp_path)
    same(predicted(control, sequential_guidance=True), predicted(control))


def test_slices_give_the_same(tmp_path):
    control, unet = small.hinted(tmp_path), small.video_unet()
    whole = predicted(control)
    unet.slice_elements = 2**12
    try:
        same(predicted(control), whole)
    finally:
        unet.slice_elements = None


def test_windows_see_their_own_frames_of_the_hint(tmp_path):
    latents, _text, hint = small.inputs(6)
    control = small.hinted(tmp_path, video=hint.numpy())
    parts = regions(latents.shape[2:], spans(6, 3, 0))
    predict = guided(small.video_unet(), text_with(control, frames=6), 3.0)
    with torch.no_grad():
        whole = blended(predict, parts, (0, 0))(latents, T, WHOLE)
    for start in (0, 3):
        own = small.hinted(tmp_path, video=hint[start : start + 3].numpy())
        same(whole[:, :, start : start + 3], predicted(own, latents=latents[:, :, start : start + 3]))


@pytest.mark.parametrize("speed", [Speed(full_every=2), Speed(guidance_every=2), Speed(guidance_until=0.5)])
def test_a_control_acts_at_every_speed(tmp_path, speed):
    latents, frames = small.inputs()[0], small.FRAMES

    def made(*controls):
        predict = guided(small.video_unet(), text_with(*controls, frames=frames), 3.0, speed=speed)
        return denoise(predict, latents, create_schedule("ddim", 4), [seeded(0)])

    plain = made()
    assert torch.equal(made(small.hinted(tmp_path, strength=0.0)), plain)
    moved = made(small.hinted(tmp_path))
    assert moved.isfinite().all()
    assert (moved - plain).abs().mean() > 1e-3


def test_controls_add_up(tmp_path):
    net, adapter = small.hinted(tmp_path), small.hinted(tmp_path, small.adapter())
    one, other = (control.residuals(seen()) for control in (net, adapter))
    _, text, _ = small.inputs()
    unet, latents = small.video_unet(), small.inputs()[0]
    both = unet(latents, T, text, control=replace(one, inputs=other.inputs))
    same(predicted(net, adapter, scale=1.0), both)


def test_more_images_than_a_batch_holds_give_the_same(tmp_path, monkeypatch):
    control = small.hinted(tmp_path)
    whole = control.residuals(seen())
    monkeypatch.setattr("lavie.control.hinted.IMAGES_AT_ONCE", 2)
    for a, b in zip(control.residuals(seen()).skips, whole.skips, strict=True):
        same(a, b)


def test_hints_of_another_length_are_refused_or_stretched(tmp_path):
    control = small.hinted(tmp_path)
    with pytest.raises(UsageError, match="control video has 3 frames, the video 5"):
        control.over(5)
    assert control.over(5, stretch=True).frames.tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("text", ["x", "0", "1: 1, 0: 1", "0: 21", "-1: 1"])
def test_strengths_over_frames_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError, match=r"strength over frames|must come in order"):
        FrameStrengths.parse(text)


@pytest.mark.parametrize("change", [{"strength": 1e9}, {"strength": float("nan")}, {"between": (0.5, 0.2)}])
def test_settings_out_of_range_are_refused(tmp_path, change):
    with pytest.raises(UsageError):
        small.hinted(tmp_path, **change)


def test_a_hint_of_another_size_is_cut_around_the_middle_and_scaled(tmp_path):
    video = torch.zeros(1, 64, 128, 4, dtype=torch.uint8)
    video[:, :, 32:96, :3] = 255
    wide, white = small.hinted(tmp_path, video=video.numpy()), small.hinted(tmp_path, video=video[:, :, 40:90].numpy())
    assert torch.equal(predicted(wide), predicted(white))


def test_settings_reject_a_video_of_no_frames(tmp_path):
    with pytest.raises(UsageError):
        small.hinted(tmp_path, video=small.inputs()[2][:0].numpy())
