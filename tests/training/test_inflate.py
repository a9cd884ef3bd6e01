"""A video UNet that starts from an image model predicts what the image model does."""

import json

import pytest
import torch
from safetensors.torch import save_file

from lavie.errors import LavieError, UsageError
from lavie.models import build_unet
from lavie.training.image_unet import read_image_unet
from lavie.training.inflate import base_from_image, extension_from_base, interpolation_from_base, upscaler_from_image

diffusers = pytest.importorskip("diffusers")

SIZES = {"block_out_channels": (64, 128), "attention_head_dim": 2, "cross_attention_dim": 24, "norm_num_groups": 32}
IMAGE = {
    "sample_size": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    **SIZES,
}
UPSCALER = {
    **IMAGE,
    "in_channels": 7,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "only_cross_attention": (True, False),
    "num_class_embeds": 30,
    "use_linear_projection": True,
}
TIMESTEPS = torch.tensor([3, 700])


def image_unet(config):
    """diffusers' own UNet with random weights, norms included."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(**config).eval()
    with torch.no_grad():
        for parameter in unet.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return unet


def plain(config):
    return json.loads(json.dumps(dict(config)))


@pytest.fixture(scope="module")
def image():
    return image_unet(IMAGE)


@pytest.fixture(scope="module")
def image_upscaler():
    return image_unet(UPSCALER)


@pytest.fixture
def base(image):
    return base_from_image(image.state_dict(), plain(image.config))


def with_lively_time(unet):
    """As after training: the temporal layers put something out."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "temp" in name:
                parameter.copy_(0.2 * torch.randn_like(parameter))
    return unet


def sample_of(channels, frames):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, channels, frames, 8, 6, generator=generator), torch.randn(2, 5, 24, generator=generator)


@torch.no_grad()
def test_a_clip_of_one_frame_is_predicted_as_by_the_image_model(image, base):
    sample, text = sample_of(4, 1)
    expected = image(sample[:, :, 0], TIMESTEPS, text).sample
    torch.testing.assert_close(base(sample, TIMESTEPS, text)[:, :, 0], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_every_frame_of_a_still_clip_is_predicted_as_by_the_image_model(image, base):
    sample, text = sample_of(4, 1)
    predicted = base(sample.expand(-1, -1, 5, -1, -1), TIMESTEPS, text)
    expected = image(sample[:, :, 0], TIMESTEPS, text).sample
    for frame in predicted.unbind(2):
        torch.testing.assert_close(frame, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_frames_that_differ_share_the_statistics_of_their_norms_and_nothing_else(image, base):
    """With the norms made to see one frame at a time, any clip is the image model frame by frame."""
    sample, text = sample_of(4, 3)
    expected = torch.stack([image(frame, TIMESTEPS, text).sample for frame in sample.unbind(2)], dim=2)
    jointly = base(sample, TIMESTEPS, text)
    assert not torch.allclose(jointly, expected, atol=1e-3)
    for norm in base.modules():
        if type(norm).__name__ == "FrameNorm":
            norm.forward = lambda x, frames, n=norm: type(n).forward(n, x, 1)
    torch.testing.assert_close(base(sample, TIMESTEPS, text), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_upscaler_starts_as_the_image_upscaler(image_upscaler):
    unet = upscaler_from_image(image_upscaler.state_dict(), plain(image_upscaler.config))
    sample, text = sample_of(7, 1)
    labels = torch.tensor([4, 29])
    expected = image_upscaler(sample[:, :, 0], TIMESTEPS, text, class_labels=labels).sample
    for frames in (1, 4):
        predicted = unet(sample.expand(-1, -1, frames, -1, -1), TIMESTEPS, text, labels)
        for frame in predicted.unbind(2):
            torch.testing.assert_close(frame, expected, atol=1e-5, rtol=1e-5)


def stable_diffusion_names(tensors):
    """diffusers' names turned into Stable Diffusion's, for two levels of two layers: by a table of its own."""
    blocks = {
        "down_blocks.0.resnets.0": "input_blocks.1.0",
        "down_blocks.0.attentions.0": "input_blocks.1.1",
        "down_blocks.0.resnets.1": "input_blocks.2.0",
        "down_blocks.0.attentions.1": "input_blocks.2.1",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
        "down_blocks.1.resnets.0": "input_blocks.4.0",
        "down_blocks.1.resnets.1": "input_blocks.5.0",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "up_blocks.0.resnets.0": "output_blocks.0.0",
        "up_blocks.0.resnets.1": "output_blocks.1.0",
        "up_blocks.0.resnets.2": "output_blocks.2.0",
        "up_blocks.0.upsamplers.0": "output_blocks.2.1",
        "up_blocks.1.resnets.0": "output_blocks.3.0",
        "up_blocks.1.attentions.0": "output_blocks.3.1",
        "up_blocks.1.resnets.1": "output_blocks.4.0",
        "up_blocks.1.attentions.1": "output_blocks.4.1",
        "up_blocks.1.resnets.2": "output_blocks.5.0",
        "up_blocks.1.attentions.2": "output_blocks.5.1",
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    inner = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0"}
    inner |= {"conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    renamed = {}
    for name, tensor in tensors.items():
        block = next(b for b in blocks if name.startswith(b + "."))
        rest = name.removeprefix(block + ".")
        if ".resnets." in f".{block}":
            layer, kind = rest.rsplit(".", 1)
            rest = f"{inner[layer]}.{kind}"
        renamed[f"model.diffusion_model.{blocks[block]}.{rest}"] = tensor
    return renamed


def test_a_single_file_gives_the_same_network_as_the_diffusers_folder(image, tmp_path):
    image.save_pretrained(tmp_path / "pipeline" / "unet")
    tensors = stable_diffusion_names(image.state_dict())
    tensors |= {"first_stage_model.decoder.conv_in.weight": torch.zeros(1)}
    save_file(tensors, tmp_path / "v1.safetensors")
    folder = base_from_image(tmp_path / "pipeline").state_dict()
    single = base_from_image(tmp_path / "v1.safetensors", plain(image.config)).state_dict()
    assert folder.keys() == single.keys()
    assert all(torch.equal(folder[name], single[name]) for name in folder)


def test_the_released_size_is_known_without_a_config(key_manifest):
    with torch.device("meta"):
        tensors = {
            name: torch.empty(shape)
            for name, shape in key_manifest("lavie_base").items()
            if "_temp" not in name and "temporal" not in name
        }
    config = read_image_unet(tensors).config
    assert (config["attention_head_dim"], config["norm_num_groups"], config["in_channels"]) == (8, 32, 4)


def test_what_is_no_such_image_model_is_refused(image, image_upscaler, tmp_path):
    tensors, config = image.state_dict(), plain(image.config)
    with pytest.raises(LavieError, match="no whole image UNet"):
        base_from_image({k: v for k, v in tensors.items() if "mid_block" not in k}, config)
    with pytest.raises(LavieError, match="7 input channels"):
        base_from_image(image_upscaler.state_dict(), plain(image_upscaler.config))
    with pytest.raises(LavieError, match="no ×4 upscaler"):
        upscaler_from_image(tensors, config)
    with pytest.raises(LavieError, match="unusual size"):
        base_from_image(tensors)
    with pytest.raises(LavieError, match="Stable Diffusion 2"):
        base_from_image(tensors, {**config, "attention_head_dim": [5, 10]})
    with pytest.raises(LavieError, match="a LaVie base UNet"):
        base_from_image(base_from_image(tensors, config).state_dict(), config)
    with pytest.raises(LavieError, match="no image UNet"):
        base_from_image(tmp_path)


@pytest.mark.parametrize(("form", "channels"), [("first-frame", 8), ("mask", 9)])
@torch.no_grad()
def test_the_extension_starts_as_the_base_whatever_it_is_given(base, form, channels):
    base = with_lively_time(base)
    extension = extension_from_base(base, form)
    assert extension.config.in_channels == channels
    sample, text = sample_of(channels, 4)
    expected = base(sample[:, :4], TIMESTEPS, text)
    assert torch.equal(extension(sample, TIMESTEPS, text), expected)


def test_the_mask_form_reads_noise_then_mask_then_given_latents(golden):
    """The first four channels are those that the base's convolution learnt: the order of the official loop."""
    file = golden("seine_tiny")
    assert "noisy latents 0:4, mask 4:5" in file.sidecar["tensors"]["in/<case>.<name>"]["sample"]
    torch.manual_seed(0)
    base = build_unet({**file.config, "in_channels": 4})
    weight = extension_from_base(base, "mask").conv_in.weight
    assert weight.shape == file.weights["conv_in.weight"].shape
    assert torch.equal(weight[:, :4], base.conv_in.weight)
    assert not weight[:, 4:].any()


@torch.no_grad()
def test_interpolation_starts_deaf_to_the_given_frames_and_as_the_base_on_still_clips(base):
    interpolation = interpolation_from_base(base)
    sample, text = sample_of(8, 3)
    other = torch.cat((sample[:, :4], -sample[:, 4:]), dim=1)
    assert torch.equal(interpolation(sample, TIMESTEPS, text), interpolation(other, TIMESTEPS, text))
    still = sample[:, :, :1].expand(-1, -1, 5, -1, -1)
    torch.testing.assert_close(
        interpolation(still, TIMESTEPS, text), base(still[:, :4], TIMESTEPS, text), atol=1e-5, rtol=1e-5
    )


def test_interpolation_keeps_every_weight_that_it_has(base):
    base = with_lively_time(base)
    interpolation = interpolation_from_base(base).state_dict()
    own = base.state_dict()
    left_out = own.keys() - interpolation.keys()
    assert all("time_rel_pos_bias" in name or "rotary_emb" in name for name in left_out)
    assert all(torch.equal(own[name], interpolation[name]) for name in interpolation if name != "conv_in.weight")


def test_only_a_base_becomes_another_stage(base):
    with pytest.raises(UsageError, match="another stage"):
        extension_from_base(interpolation_from_base(base))
    with pytest.raises(UsageError, match="form"):
        extension_from_base(base, "last-frame")


def test_the_seed_decides_the_new_weights_and_leaves_the_global_generator_alone(image):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    once, again, other = (
        base_from_image(image.state_dict(), plain(image.config), seed).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    name = "mid_block.attentions.0.transformer_blocks.0.attn_temp.to_q.weight"
    assert torch.equal(once[name], again[name])
    assert not torch.equal(once[name], other[name])
