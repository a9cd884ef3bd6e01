"""Videos of your own as clips whose every frame is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import interpolate

from ..models.latents import to_uint8
from ..training.data import ClipRequest, Filters, open_source
from ..training.data.randomness import generator_of
from .report import SuiteRequest
from .true_clips import TrueClip, TrueClips, default_clips

ENLARGED_FRAMES = 8  # of a clip that is reduced to be enlarged again


class RealClips:
    """Captioned videos: a folder, a table, shards (see `open_source`), the first `count` of them in a random order.

    Raises:
        UsageError: nothing there, or nothing in it is fit.
    """

    def __init__(self, spec: str, count: int, seed: int) -> None:
        self.source = open_source(spec, Filters(min_frames=ENLARGED_FRAMES, min_words=0))
        self.rows = self.source.order(seed, "evaluation")[:count].tolist()
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def caption(self, number: int) -> str:
        return self.source.caption(self.rows[number], generator_of(self.seed, "evaluation", number))

    def clip(self, number: int, num_frames: int, height: int, width: int) -> TrueClip:
        generator = generator_of(self.seed, "evaluation", number)
        read = self.source.read(self.rows[number], ClipRequest(num_frames, height, width), generator)
        return TrueClip(read.caption, to_uint8(read.tensors["video"][None])[0].permute(1, 2, 3, 0).numpy())

    def reduced(self, number: int, height: int, width: int, scale: int) -> tuple[np.ndarray, TrueClip]:
        large = self.clip(number, ENLARGED_FRAMES, scale * height, scale * width)
        images = torch.from_numpy(large.frames).permute(0, 3, 1, 2).float()
        small = interpolate(images, (height, width), mode="area").round().byte()
        return small.permute(0, 2, 3, 1).numpy(), large

    def shares(self, clips: Sequence[np.ndarray]) -> dict[str, float]:
        return {}


def clips_of(request: SuiteRequest) -> TrueClips:
    """The named videos, or the clips that are registered for where none are.

    Raises:
        UsageError: neither is there.
    """
    if request.videos:
        return RealClips(request.videos, request.clips, request.seed)
    return default_clips()(request.clips, request.seed)
