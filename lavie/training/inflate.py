"""Video UNets that start from trained networks: the base from an image model, then each stage from the one before it.

What equals what at step 0: the temporal layers' last projections are zero, so no frame reads another through them; but
LaVie's group norms take their statistics over all frames together. So a clip of one frame, and every frame of a clip
whose frames are all alike (with the same noise), is predicted as by the image model. Frames that differ are predicted
as by an image model whose norms share their statistics: near, not equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import LavieError, UsageError
from ..lora.names import is_temporal
from ..models import UNetConfig, VideoUNet, build_unet, to_channels_last
from ..models.restore import compare
from .image_unet import ImageUNet, read_image_unet

EXTENSIONS = {"first-frame": 8, "mask": 9}  # input channels


def base_from_image(
    source: str | Path | Mapping[str, Tensor], config: Mapping[str, Any] | None = None, seed: int = 0
) -> VideoUNet:
    """A base UNet whose spatial layers are those of a Stable Diffusion 1.x checkpoint, in float32.

    Args:
        source: a diffusers folder, a single checkpoint file, or named tensors; see `read_image_unet`.
        config: diffusers' UNet config where the source brings none.
        seed: of the temporal layers' inner weights; what they put out is zero.

    Raises:
        LavieError: the source is no Stable Diffusion 1.x UNet.
    """
    image = read_image_unet(source, config)
    if image.config["in_channels"] != 4 or image.config.get("num_class_embeds"):
        raise LavieError(f"This image UNet takes {image.config['in_channels']} input channels; a base UNet takes 4.")
    return _inflated(image, UNetConfig.from_dict(image.config), seed)


def upscaler_from_image(
    source: str | Path | Mapping[str, Tensor], config: Mapping[str, Any] | None = None, seed: int = 0
) -> VideoUNet:
    """A video upscaler whose spatial layers are those of Stable Diffusion's ×4 upscaler; as `base_from_image`."""
    image = read_image_unet(source, config)
    if image.config["in_channels"] != 7 or not image.config.get("num_class_embeds"):
        raise LavieError("This image UNet is no ×4 upscaler: it does not take 7 input channels and a noise level.")
    return _inflated(image, UNetConfig.from_dict({**image.config, "temporal_module_config": {}}), seed)


def interpolation_from_base(base: VideoUNet) -> VideoUNet:
    """An interpolation UNet with a base UNet's weights, and zeros for the four channels of the given frames.

    Those channels change nothing at step 0. Beyond that the two networks are not the same function, by LaVie's design:
    interpolation looks at the first and the previous frame instead of its own, has no positions in time, and attends
    over time after the feed-forward. They agree on clips whose frames are all alike as long as the temporal layers
    put out nothing (`base_from_image`).
    """
    changes = {"sparse_causal_attention": True, "temporal_positions": False, "temporal_attention_last": True}
    return _widened(base, replace(base.config, in_channels=8, **changes))


def extension_from_base(base: VideoUNet, form: str = "first-frame") -> VideoUNet:
    """An extension UNet that at step 0 predicts what the base does, whatever it is conditioned on.

    Args:
        form: "first-frame" (8 channels: noisy latents, latents of the first frame on every frame) or "mask" (9: noisy
            latents, mask with 0 for given frames and 1 for those to make, latents of the given frames).

    Raises:
        UsageError: another form.
    """
    if form not in EXTENSIONS:
        raise UsageError(f"Unknown form of extension '{form}'. Choose {' or '.join(EXTENSIONS)}.")
    return _widened(base, replace(base.config, in_channels=EXTENSIONS[form]))


@torch.no_grad()
def turn_velocity(unet: VideoUNet) -> None:
    """Turn a network that predicts v into one that predicts the clean latents, at the noisiest levels, where v is
    −x0."""
    for parameter in unet.conv_out.parameters():
        parameter.neg_()


def _inflated(image: ImageUNet, config: UNetConfig, seed: int) -> VideoUNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = build_unet(config)
    spatial = {name: value for name, value in unet.state_dict().items() if not is_temporal(name)}
    differences = compare(spatial, image.tensors)
    if differences:
        raise LavieError(f"The image UNet does not fit LaVie's: {differences}.")
    unet.load_state_dict({name: tensor.float() for name, tensor in image.tensors.items()}, strict=False)
    silence_temporal(unet)
    return to_channels_last(unet)


def silence_temporal(unet: VideoUNet) -> None:
    """Zero what the temporal layers add: the projection of their attention, and the upscaler's last convolutions."""
    ends = ("attn_temp.to_out.0", "attn_temporal.to_out.0", "resblock_temporal.conv2", "shift_conv")
    for name, module in unet.named_modules():
        if name.endswith(ends):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)


def _widened(base: VideoUNet, config: UNetConfig) -> VideoUNet:
    if base.config.in_channels != 4 or base.config.temporal_convolutions or base.config.sparse_causal_attention:
        raise UsageError("This stage starts from a base UNet, and the network given is another stage's.")
    unet = build_unet(config)
    tensors = base.state_dict()
    narrow = tensors["conv_in.weight"]
    new = narrow.new_zeros(len(narrow), config.in_channels - narrow.shape[1], *narrow.shape[2:])
    tensors["conv_in.weight"] = torch.cat((narrow, new), dim=1)
    expected = unet.state_dict()
    unet.load_state_dict({name: tensors[name] for name in expected}, strict=True)
    return to_channels_last(unet.to(base.dtype))
