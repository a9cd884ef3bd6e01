"""What a stage will need, told from the headers of its files: before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.detect import detect
from ..checkpoints.load import require_stage, unet_on_meta
from ..checkpoints.stored import stored_config, weights_file
from ..config import Family
from ..models.vae import vae_config
from ..runtime import vae_dtype
from ..runtime.estimate import Weights, Workload
from ..runtime.free_memory import taken
from ..runtime.placement import block_bytes, weight_bytes
from ..stages import STAGES
from ..tensor_files import read_layout
from .parts import source_of


def workload_ahead(
    family: Family,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    size: tuple[int, int, int],
    encodes: bool,
) -> Workload:
    """The work of a stage that is not loaded yet, for one video.

    Args:
        name: of the stage.
        size: frames, height and width of what it is given, or of what the base makes.
        encodes: frames come in through the VAE.

    Raises:
        LavieError: a file is broken, or of another stage.
    """
    config, spec = family.stage(name), STAGES[name]
    file = read_layout(weights_file(family.path(config.unet)))
    found = detect(file.tensors, stored_config(file))
    require_stage(found, file.path, name)
    unet = unet_on_meta(found, file.path)
    vae = _layout(source_of(family, config.vae))
    text = _layout(source_of(family, config.text_encoder))
    widths = vae_config(vae)["block_out_channels"]
    stored = unet.conv_in.weight.element_size()
    return Workload(
        spec,
        unet.config,
        Weights(
            unet=weight_bytes(unet) * dtype.itemsize // stored,
            block=block_bytes(unet) * dtype.itemsize // stored,
            vae=_numbers(vae) * vae_dtype(dtype, device).itemsize,
            text_encoder=_numbers(text) * dtype.itemsize,
        ),
        1,
        *spec.latents_of(*size),
        itemsize=dtype.itemsize,
        scale=2 ** (len(widths) - 1),
        vae_width=widths[0],
        encodes=encodes,
        device=device.type,
        beside=taken(device),
    )


def _layout(source: Path | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return read_layout(weights_file(source)).tensors if isinstance(source, Path) else source


def _numbers(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())
