"""Loads a checkpoint into a UNet. Everything is checked first, so nothing is ever half loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import LavieError
from ..models import VideoUNet, build_unet, to_channels_last
from ..models.meta import WithoutWeights
from ..models.positions import rotary_frequencies
from ..models.restore import compare
from ..tensor_files import read_checkpoint
from .detect import Detected, detect
from .stored import stored_config, weights_file

FREQUENCIES = "rotary_emb.freqs"


def load_unet(
    path: str | Path,
    stage: str | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    config: Mapping[str, Any] | None = None,
) -> VideoUNet:
    """Load a LaVie UNet of any stage, in eval mode.

    Args:
        path: a checkpoint file, or a folder with config.json and weights.
        stage: "base", "interpolation", "extension" or "upscaler" to require that stage; None accepts any.
        dtype: the precision to convert to; None keeps the file's.
        device: where to put it.
        config: decides what tensors do not show; takes precedence over a config stored with the file.

    Raises:
        LavieError: no such checkpoint, another stage, missing, unexpected or misshapen tensors, NaN weights.
    """
    checkpoint = read_checkpoint(weights_file(path))
    found = detect(checkpoint.tensors, stored_config(checkpoint) if config is None else config)
    require_stage(found, checkpoint.path, stage)
    unet = unet_on_meta(found, checkpoint.path)
    tensors = with_rotary_frequencies(checkpoint.tensors, unet.state_dict())
    require_same_layout(tensors, unet.state_dict(), checkpoint.path, found)
    require_sound_values(tensors, checkpoint.path)
    unet.load_state_dict(tensors, strict=True, assign=True)
    return to_channels_last(unet.to(device=device, dtype=dtype)).eval()


def unet_on_meta(found: Detected, path: Path) -> VideoUNet:
    """The UNet of a detected config, without memory for weights."""
    try:
        with WithoutWeights():
            return build_unet(found.config)
    except LavieError as error:
        raise LavieError(f"{path.name} seems to be {found.title}, but it cannot be built. {error}") from error


def require_stage(found: Detected, path: Path, stage: str | None) -> None:
    """Refuse anything but a UNet of the requested stage, or one whose config is not known well enough to build it."""
    wanted = f"a LaVie {stage} UNet" if stage else "a LaVie UNet"
    if found.kind != "unet" or stage not in (None, found.stage):
        raise LavieError(f"{path.name} seems to be {found.title}, but {wanted} is needed here.")
    if found.assumed:
        raise LavieError(
            f"{path.name} is {found.title} of an unusual size, and its tensors do not tell "
            f"{' and '.join(found.assumed)}: put its config.json beside it."
        )


def require_same_layout(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, found: Detected
) -> None:
    """Refuse missing, unexpected and misshapen tensors (naming the first few) and quantised ones."""
    differences = compare(expected, tensors)
    if differences:
        raise LavieError(
            f"{path.name} seems to be {found.title}, but its {len(tensors)} tensors are not the {len(expected)} "
            f"of one: {differences}."
        )
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            raise LavieError(f"{path.name} is quantised ({name} is {tensor.dtype}), which LaVie cannot use.")


def require_sound_values(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse NaN and infinite weights, and rotary frequencies that differ from LaVie's, which the UNet computes."""
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise LavieError(f"{path.name} is broken: {name} holds NaN or infinite values.")
        if name.endswith(FREQUENCIES):
            tolerance = 1e-2 if tensor.element_size() < 4 else 1e-5
            expected = rotary_frequencies()
            if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, rtol=tolerance):
                raise LavieError(f"{path.name} has other rotary frequencies ({name}) than every LaVie model.")


def is_finite(tensor: Tensor) -> bool:
    """No NaN and no infinity: checks the extremes, which propagate NaN; 25 times as fast as torch.isfinite."""
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return True
    tensor = tensor.half() if tensor.element_size() == 1 else tensor
    return bool(torch.stack(tensor.aminmax()).isfinite().all())


def with_rotary_frequencies(tensors: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """Restore the frequencies that converters drop because all layers share one tensor."""
    filled = {name: rotary_frequencies() for name in expected if name.endswith(FREQUENCIES)}
    return {**filled, **tensors}
