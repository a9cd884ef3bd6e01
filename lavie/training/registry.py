"""What other packages can add to training: kinds of data, and networks with fresh weights.

Nothing heavy is imported here, so registering costs nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..models import VideoUNet
    from ..models.text_encoder import TextEncoder
    from .data.source import ClipSource

OpenSource = Callable[[str], "tuple[ClipSource, bool]"]


@dataclass(frozen=True)
class FreshNetworks:
    """Makes untrained networks, for `--init scratch`.

    unet: of a stage. text_encoder: for a family's folder, with the tokenizer in there, or one that is made there.
    """

    unet: Callable[[str], VideoUNet]
    text_encoder: Callable[[Path], TextEncoder]


_sources: dict[str, OpenSource] = {}
_fresh: list[FreshNetworks] = []


def register_source(kind: str, opened: OpenSource) -> None:
    """From now on the specs `KIND` and `KIND:…` name what `opened(spec)` gives: a source, and whether it holds images
    only. The source's `name` has to be the spec."""
    _sources[kind] = opened


def registered_sources() -> Mapping[str, OpenSource]:
    return _sources


def register_fresh_networks(made: FreshNetworks) -> None:
    """From now on `--init scratch` starts from these."""
    _fresh[:] = [made]


def fresh_networks() -> FreshNetworks:
    """The registered ones.

    Raises:
        UsageError: none are.
    """
    if not _fresh:
        raise UsageError(
            "Fresh weights are of lavie-tiny's size, which only the lab in a checkout knows: run `python -m lab train` "
            "there, or name with --init what to start from."
        )
    return _fresh[0]
