"""A control network with its hint video and strengths, as the denoising loop asks it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..lora.steps import StepStrengths
from ..models.residuals import Residuals
from ..sampling.control import Seen, fitted_frames, told_timesteps
from ..sampling.schedule import NUM_TRAIN_TIMESTEPS
from .networks import Adapter, ControlNet
from .strengths import FrameStrengths

IMAGES_AT_ONCE = 32
PIXELS = 8  # per latent pixel along an edge


@dataclass(frozen=True)
class HintedControl:
    """See `lavie.sampling.control.ActiveControl`.

    hint: uint8 [images, 3, height, width], one for all frames or one for each. between: the share of the denoising,
    from 0 (noise) to 1 (done), in which it acts. frames: which image of the hint each frame sees, int64; None: not yet
    known. strengths: of each frame.
    """

    network: ControlNet | Adapter
    hint: Tensor
    strength: float = 1.0
    between: tuple[float, float] = (0.0, 1.0)
    over_steps: StepStrengths = field(default_factory=StepStrengths)
    over_frames: FrameStrengths = field(default_factory=FrameStrengths)
    frames: Tensor | None = None
    strengths: Tensor | None = None

    def over(self, num_frames: int, stretch: bool = False) -> HintedControl:
        if self.frames is not None:
            return self
        frames = fitted_frames(len(self.hint), num_frames, stretch)
        return replace(self, frames=frames, strengths=self.over_frames.over(num_frames))

    def at(self, frames: slice | Tensor) -> HintedControl:
        if self.frames is None or self.strengths is None:
            return self
        return replace(self, frames=self.frames[frames], strengths=self.strengths[frames])

    @torch.no_grad()
    def residuals(self, seen: Seen) -> Residuals | None:
        length = seen.latents.shape[2]
        control = self if self.frames is not None else self.over(length)
        strengths = control.strengths_at(seen.timesteps.cpu()).repeat(len(seen.latents))
        acting = strengths.nonzero().flatten()
        if not len(acting):
            return None
        parts = [control.of_images(seen, acting[i : i + IMAGES_AT_ONCE]) for i in range(0, len(acting), IMAGES_AT_ONCE)]
        joined = _joined(parts)
        here = acting.to(seen.latents.device)
        scale = strengths[acting].to(here.device)[:, None, None, None]
        images = len(strengths)

        def placed(part: Tensor) -> Tensor:
            scaled = part * scale.to(part)
            return (
                scaled if len(here) == images else scaled.new_zeros(images, *part.shape[1:]).index_copy(0, here, scaled)
            )

        return joined.map(placed)

    def strengths_at(self, timesteps: Tensor) -> Tensor:
        """Of each frame at its timestep, float32 [frames]."""
        assert self.strengths is not None, "`over` says for which frames"
        first, last = self.between
        progress = 1 - timesteps / (NUM_TRAIN_TIMESTEPS - 1)
        factors = torch.tensor([self.over_steps.at(float(timestep)) for timestep in timesteps])
        return self.strengths * self.strength * factors * ((progress >= first) & (progress <= last))

    def of_images(self, seen: Seen, images: Tensor) -> Residuals:
        """What the network adds at strength 1 to these images, counted over halves, clips and frames."""
        assert self.frames is not None, "`over` says which"
        length, device = seen.latents.shape[2], seen.latents.device
        clip, frame = images // length, images % length
        latents = seen.latents.transpose(1, 2).flatten(0, 1)[images.to(device)]
        told = told_timesteps(seen.timesteps, seen.matched).to(device).expand(length)[frame.to(device)]
        text = seen.text[clip.to(device)] if seen.text.ndim == 3 else seen.text[clip.to(device), frame.to(device)]
        size = tuple(PIXELS * side for side in seen.latents.shape[3:])
        return self.network(latents, told, text, fitted_hint(self.hint[self.frames[frame]], size).to(device))


def fitted_hint(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """uint8 [images, 3, height, width] as float32 in 0…1 of this size: cut to its proportions around the middle, and
    scaled as the host does, with hard edges."""
    height, width = images.shape[2:]
    scale = min(height / size[0], width / size[1])
    rows, columns = (max(1, round(side * scale)) for side in size)
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = images[:, :, top : top + rows, left : left + columns].float() / 255
    return cut if cut.shape[2:] == size else interpolate(cut, size, mode="nearest-exact")


def _joined(parts: list[Residuals]) -> Residuals:
    """Those of several groups of images, one after the other."""
    if len(parts) == 1:
        return parts[0]

    def cat(several: tuple[Tensor | None, ...]) -> Tensor | None:
        given = [part for part in several if part is not None]
        return torch.cat(given) if given else None

    ways = (
        [cat(each) for each in zip(*(getattr(part, way) for part in parts), strict=True)] for way in ("skips", "inputs")
    )
    skips, inputs = map(tuple, ways)
    return Residuals(skips, cat(tuple(part.middle for part in parts)), inputs)
