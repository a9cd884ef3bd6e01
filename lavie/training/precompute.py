"""Clips encoded once into a folder, so that training reads only latents."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor, nn

from .data.clip import Clip, ClipRequest
from .data.precomputed import Precomputed, write_precomputed
from .data.randomness import generator_of
from .data.source import ClipSource
from .processes import first_goes_first, is_first
from .stages.stage import DenoisingStage, on_device


def precompute(
    sources: list[ClipSource],
    request: ClipRequest,
    stage: DenoisingStage,
    folder: Path,
    device: torch.device,
    with_text: bool = False,
) -> list[ClipSource]:
    """The sources, read from encoded files in subfolders of `folder`; what is missing is encoded first.

    If several processes train, one encodes and the others wait.

    Raises:
        UsageError: the folder holds what other data, sizes or networks made.
    """
    encode, identity = _encoder(stage, device, with_text), _identity(stage, with_text)
    with first_goes_first(device):
        return [_encoded(source, request, encode, folder / _slug(source.name), identity) for source in sources]


def stored_request(frames: tuple[int, ...], rates: tuple[float | None, ...], height: int, width: int) -> ClipRequest:
    """What the folder must contain so that windows of all these lengths and rates can be taken from it.

    The slower rates are whole fractions of the fastest; see `Precomputed`.
    """
    known = [rate for rate in rates if rate is not None]
    fastest = max(known, default=None)
    stretch = round(max(known) / min(known)) if known else 1
    return ClipRequest((max(frames) - 1) * stretch + 1, height, width, fastest)


def _encoded(source: ClipSource, request: ClipRequest, encode: Callable, folder: Path, identity: str) -> ClipSource:
    from tqdm import tqdm

    options = {"file": sys.stderr, "mininterval": 5, "disable": not is_first()}
    with tqdm(total=len(source), desc=f"encoding {source.name}", **options) as bar:
        write_precomputed(
            source, request, encode, folder, identity=identity, on_rows=lambda done, _: bar.update(done - bar.n)
        )
    return Precomputed(source, folder, identity)


def _encoder(stage: DenoisingStage, device: torch.device, with_text: bool) -> Callable[[list[Clip]], list[dict]]:
    stage.parts.to(device)

    def encode(clips: list[Clip]) -> list[dict[str, Tensor]]:
        encoded = [stage.encode(on_device(clip, device), generator_of("encode", clip.name)) for clip in clips]
        if not with_text:
            return encoded
        text = stage.parts.embed(tuple((clip.caption,) for clip in clips))[:, 0]
        return [{**tensors, "text": states} for tensors, states in zip(encoded, text, strict=True)]

    return encode


def _identity(stage: DenoisingStage, with_text: bool) -> str:
    """Names the networks that encode by their weights."""
    parts = stage.parts
    modules = [parts.vae, parts.base_vae, parts.text_encoder.model if with_text else None]
    sums = [checksum(module) for module in modules if module is not None]
    return "-".join([stage.name if stage.name == "upscaler" else "latents", *sums])


def checksum(module: nn.Module) -> str:
    """16 hexadecimal digits that change with any weight."""
    digest = blake2b(digest_size=8)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _slug(name: str) -> str:
    """A folder name for a source, with a few digits so that no two sources share one."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-48:]
    return f"{words}-{blake2b(name.encode(), digest_size=4).hexdigest()}"
