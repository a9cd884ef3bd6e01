"""Moving previews: the clip as it is at a step, as a short loop on the node that samples.

ComfyUI shows one still of a video. It hands an image to the page by `image.save(file, format=…)`, so one that saves
itself as an animated WebP moves there; in the canvas renderer with the help of web/moving_previews.js.
"""

from __future__ import annotations

import inspect
import io
import time
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor

from .devices import required

SIDE = 256  # pixels of a loop's longer side
FRAMES = 16  # of a loop, at most
LONGEST = 3.0  # seconds of a loop; more of a clip plays faster
SHARE = 0.03  # of the time that sampling takes, at most

Callback = Callable[[int, Tensor, Any, int], None]  # step, x0, x, steps: the host's


class Loop(Image.Image):
    """A loop's first frame, which saves the whole loop as WebP."""

    animation: bytes

    @classmethod
    def of(cls, frames: Sequence[Image.Image], seconds: float) -> Loop:
        """These frames, over so many seconds."""
        small = [ImageOps.contain(frame, (SIDE, SIDE), Image.Resampling.BILINEAR) for frame in frames]
        file, each = io.BytesIO(), round(1000 * seconds / len(small))
        small[0].save(file, "WEBP", save_all=True, append_images=small[1:], duration=each, quality=70, method=0)
        loop = small[0]
        loop.__class__ = cls
        loop.animation = file.getvalue()  # type: ignore[attr-defined]
        return loop  # type: ignore[return-value]

    def save(self, fp: Any, format: str | None = None, **options: Any) -> None:
        if format == "WEBP":
            fp.write(self.animation)
        else:
            super().save(fp, format, **options)


class Loops:
    """The previews of a run: a new loop when the one before has played once, and at the last step.

    previewer: the host's, which shows a still. fps: of the clip; 0 if it is not known.
    """

    def __init__(self, previewer: Any, fps: float) -> None:
        self._still, self._fps = previewer.decode_latent_to_preview, fps
        self._next = 0.0
        self.last = False

    def preview(self, _format: str, x0: Tensor) -> tuple[str, Image.Image, None] | None:
        """What the host sends, of scaled latents [batch, 4, frames, h, w]; None if it is too early for another."""
        began = time.monotonic()
        if began < self._next and not self.last:
            return None
        seconds = min(x0.shape[2] / self._fps, LONGEST) if self._fps else LONGEST
        loop = Loop.of(self._frames(x0), seconds)
        self._next = began + max(seconds, (time.monotonic() - began) / SHARE)
        return "WEBP", loop, None

    def _frames(self, x0: Tensor) -> list[Image.Image]:
        """By the host's own colours, all at once: one above the other."""
        count, height = x0.shape[2:4]
        shown = min(count, FRAMES)
        chosen = x0[:1, :, [index * count // shown for index in range(shown)]]
        column = self._still(chosen.flatten(2, 3)[:, :, None])
        return [column.crop((0, at, column.width, at + height)) for at in range(0, column.height, height)]


def moving(callback: Callback, patcher: Any) -> Callback:
    """A callback of `latent_preview.prepare_callback` for this MODEL of LaVie, whose previews then move.

    As it is: one that shows none, another kind of previews than the host's Latent2RGB, or another pack's.
    """
    known = inspect.getclosurevars(callback).nonlocals if inspect.isfunction(callback) else {}
    previewer: Any = known.get("previewer")
    if type(previewer) is not required("latent_preview").Latent2RGBPreviewer:
        return callback
    loops = Loops(previewer, patcher.model.lavie.config.fps)
    previewer.decode_latent_to_preview_image = loops.preview

    def show(step: int, x0: Tensor, x: Any, steps: int) -> None:
        loops.last = step + 1 >= steps
        callback(step, x0, x, steps)

    return show


def with_moving_previews(
    executor: Any,
    noise: Tensor,
    latents: Tensor,
    sampler: Any,
    sigmas: Tensor,
    mask: Tensor | None = None,
    callback: Callback | None = None,
    *rest: Any,
    **options: Any,
) -> Tensor:
    """Put around a run of a core sampler, as the host's wrappers are (`WrappersMP.OUTER_SAMPLE`)."""
    if callback is not None:
        callback = moving(callback, executor.class_obj.model_patcher)
    return executor(noise, latents, sampler, sigmas, mask, callback, *rest, **options)
