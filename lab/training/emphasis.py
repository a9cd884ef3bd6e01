"""What the base is shown again when it knows the images but not yet the motions.

Few scenes of the world say which way something goes, and what tells it, the trail behind a guest, lies outside the
guest's mask. So clips and images that show a motion come several times, and the mask reaches over the trail.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lavie.training.data import Clip, ClipRequest, ClipSource
from lavie.training.data.precomputed import Precomputed

from ..world.scene import Scene
from .data import World, shows_motion

TRAIL_REACH, TRAIL_SHARE = 2, 0.6  # latents around the guest, and how much they count of what the guest does


def times(scene: Scene, still: bool) -> int:
    """How often a scene comes in one pass."""
    if still:
        return 4 if shows_motion(scene) else 1
    if scene.guest is not None and scene.guest.motion.startswith("moving"):
        return 3
    return 2 if scene.camera != "still" else 1


def over_trail(mask: Tensor) -> Tensor:
    """A guest's coverage [1, f, h, w] in latents, and a share of it around the guest."""
    size = 2 * TRAIL_REACH + 1
    return torch.maximum(mask, TRAIL_SHARE * F.max_pool3d(mask, (1, size, size), 1, (0, TRAIL_REACH, TRAIL_REACH)))


class Emphasis(ClipSource):
    """Encoded clips or images of the world, those with motion more often, their masks over the trails."""

    def __init__(self, encoded: Precomputed, world: World) -> None:
        self.encoded, self.name, self.report = encoded, f"{encoded.name}-motions", encoded.report
        rows = range(len(encoded))
        self.rows = [row for row in rows for _ in range(times(world.scene(row), world.stills))]

    def __len__(self) -> int:
        return len(self.rows)

    def caption(self, row: int, generator: torch.Generator) -> str:
        return self.encoded.caption(self.rows[row], generator)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        clip = self.encoded.read(self.rows[row], request, generator)
        return replace(clip, tensors={**clip.tensors, "mask": over_trail(clip.tensors["mask"])})

    def fingerprint(self) -> str:
        return f"motions of {self.encoded.fingerprint()}"
