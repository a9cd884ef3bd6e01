"""Images beside videos in one call, and gradients from recomputed blocks."""

import pytest
import torch
from support.networks import FRAMES, IMAGES, STAGES, inputs, unet_of

from lab.architecture import UNETS
from lavie.models import build_unet


def silenced(unet):
    """The same network without what its temporal layers add."""
    ends = ("attn_temp.to_out.0", "attn_temporal.to_out.0", "resblock_temporal.conv2", "shift_conv")
    for name, module in unet.named_modules():
        if name.endswith(ends):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)
    return unet


@pytest.mark.parametrize("stage", STAGES)
@torch.no_grad()
def test_frames_that_all_have_one_noise_level_are_a_clip_of_that_level(stage):
    unet = unet_of(stage)
    sample, timesteps, text, labels = inputs(stage)
    levels = torch.cat((timesteps[:, None].expand(2, FRAMES), torch.tensor([[3, 500], [80, 900]])), dim=1)
    by_clip = torch.cat((timesteps[:, None], levels[:, FRAMES:]), dim=1)
    close = {"rtol": 1e-5, "atol": 1e-5}
    joint = unet(sample, levels, text, labels, num_images=IMAGES)
    torch.testing.assert_close(joint, unet(sample, by_clip, text, labels, num_images=IMAGES), **close)
    video, text = sample[:, :, :FRAMES], text[:, 0]
    alone = unet(video, levels[:, :FRAMES], text, labels)
    torch.testing.assert_close(alone, unet(video, timesteps, text, labels), **close)
    levels[:, 1] = 0
    assert not torch.allclose(unet(video, levels[:, :FRAMES], text, labels), alone, atol=1e-3)


@pytest.mark.parametrize("stage", STAGES)
@torch.no_grad()
def test_images_leave_the_video_as_it_is_without_them(stage):
    unet = unet_of(stage)
    sample, timesteps, text, labels = inputs(stage)
    joint = unet(sample, timesteps, text, labels, num_images=IMAGES)
    alone = unet(sample[:, :, :FRAMES], timesteps, text[:, 0], labels)
    torch.testing.assert_close(joint[:, :, :FRAMES], alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("stage", STAGES)
@torch.no_grad()
def test_an_image_is_predicted_as_by_the_network_without_temporal_layers(stage):
    unet = unet_of(stage)
    sample, timesteps, text, labels = inputs(stage)
    joint = unet(sample, timesteps, text, labels, num_images=IMAGES)
    unet = silenced(unet)
    for number in range(IMAGES):
        frame = slice(FRAMES + number, FRAMES + number + 1)
        alone = unet(sample[:, :, frame], timesteps, text[:, 1 + number], labels)
        torch.testing.assert_close(joint[:, :, frame], alone, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_every_image_may_have_a_noise_level_of_its_own():
    unet = unet_of("base")
    sample, _, text, _ = inputs("base")
    timesteps = torch.tensor([[17, 500, 3], [640, 2, 999]])
    joint = unet(sample, timesteps, text, num_images=IMAGES)
    video = unet(sample[:, :, :FRAMES], timesteps[:, 0], text[:, 0])
    torch.testing.assert_close(joint[:, :, :FRAMES], video, atol=1e-6, rtol=1e-5)
    unet = silenced(unet)
    for number in range(IMAGES):
        frame = slice(FRAMES + number, FRAMES + number + 1)
        alone = unet(sample[:, :, frame], timesteps[:, 1 + number], text[:, 1 + number])
        torch.testing.assert_close(joint[:, :, frame], alone, atol=1e-6, rtol=1e-5)


def test_images_teach_spatial_layers_and_never_temporal_ones():
    unet = unet_of("base")
    sample, timesteps, text, _ = inputs("base")
    unet(sample, timesteps, text, num_images=IMAGES)[:, :, FRAMES:].square().sum().backward()
    touched = {name for name, p in unet.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert not any("_temp" in name for name in touched)
    assert {name for name, _ in unet.named_parameters() if "_temp" not in name} == touched


@pytest.mark.parametrize("num_images", [0, IMAGES])
@pytest.mark.parametrize("stage", STAGES)
def test_recomputed_blocks_give_the_same_gradients(stage, num_images):
    sample, timesteps, text, labels = inputs(stage, batch=1)
    text = text if num_images else text[:, 0]
    gradients = []
    for recompute in (False, True):
        unet = unet_of(stage)
        unet.gradient_checkpointing = recompute
        calls = []
        unet.up_blocks[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        unet(sample, timesteps, text, labels, num_images=num_images).square().mean().backward()
        assert len(calls) == (2 if num_images else 1) * (2 if recompute else 1)
        gradients.append({name: p.grad for name, p in unet.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-7, rtol=1e-5, msg=name)


def test_the_bundled_networks_take_images_too():
    unet = build_unet(UNETS["base"])
    sample, text = torch.randn(1, 4, 6, 8, 8), torch.randn(1, 3, 4, 128)
    assert unet(sample, torch.tensor([5]), text, num_images=2).shape == sample.shape


@pytest.mark.parametrize("stage", STAGES)
@torch.no_grad()
def test_images_alone_are_what_they_are_beside_a_video(stage):
    unet = unet_of(stage)
    sample, _, text, labels = inputs(stage)
    timesteps = torch.tensor([[700, 3, 400], [20, 999, 250]])
    beside = unet(sample, timesteps, text, labels, num_images=IMAGES)[:, :, FRAMES:]
    alone = unet(sample[:, :, FRAMES:], timesteps[:, 1:], text[:, 1:], labels, num_images=IMAGES)
    torch.testing.assert_close(alone, beside, atol=1e-6, rtol=1e-5)
