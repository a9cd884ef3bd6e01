"""Everything that touches ComfyUI: model folders, devices and memory, native MODEL and CLIP, progress, previews,
Cancel.

ComfyUI is imported inside functions only, so that the nodes can be imported and run without it: `Patcher` then replaces
its ModelPatcher. If a future host lacks something, the log says what is off.

Nodes import only this package. This file holds what they use while they run.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...lavie.errors import LavieError
from ...lavie.runtime.fallback import SLICE_ELEMENTS
from .devices import (
    Patcher,
    comfy,
    compute_device,
    free_cache,
    free_models,
    is_card_out_of_memory,
    node_title,
    ran_out_of_memory,
    required,
    storage_device,
    text_dtype,
    unet_dtype,
    vae_dtype,
)
from .files import (
    UNET_FOLDERS,
    checkpoint_folders,
    clip_tokenizer,
    files,
    find_file,
    loras_folder,
    output_folder,
    register_folders,
    released_folders,
)
from .native import keywords, make_clip, make_model, make_patcher, own_weight, remember_how_to_load
from .notes import doing
from .notes import note as note
from .notes import telling as telling
from .previews import moving
from .video import VideoParts as VideoParts
from .video import make_video, video_parts
from .weights import require_fitting

if TYPE_CHECKING:
    from ...lavie.models import VideoUNet
    from ...lavie.runtime.fallback import Attempt

log = logging.getLogger(__name__)

PREVIEW_SIZE = 512
BAR = 1000  # the length of a bar that is divided into spans
PHASES = {
    "load": "loading",
    "encode": "encoding",
    "decode": "decoding",
    "prior": "making prior images",
    "train": "training",
}

Result = TypeVar("Result")


def load(patcher: Any, memory: float = 0, others: Iterable[Any] = (), whole: bool = False) -> torch.device:
    """Move a network, and others that work beside it, to its device by the host's rules, leaving room for `memory`
    bytes of work.

    whole: not in part, where memory is short, because its layers are not the host's.
    """
    check_interrupt()
    management = comfy("comfy.model_management")
    if management is None or isinstance(patcher, Patcher):
        patcher.model.to(patcher.load_device)
    else:
        management.load_models_gpu([patcher, *others], memory_required=memory, force_full_load=whole)
    return patcher.load_device


def run_within_memory(
    attempts: Iterable[Attempt], run: Callable[[Attempt], Result], advice: str, unet: VideoUNet
) -> Result:
    """Run the first attempt that memory allows, with the UNet in slices if the attempt says so; the log names every
    change.

    Raises:
        torch.cuda.OutOfMemoryError: none fits a card; the message says what to lower, and the host unloads its models.
        LavieError: none fits the computer's memory; the message says what to lower.
    """
    on_card = False
    for attempt in attempts:
        if attempt.note:
            log.warning("LaVie ran out of memory: %s", attempt.note)
        unet.slice_elements = SLICE_ELEMENTS if attempt.sliced else None
        try:
            return run(attempt)
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            on_card = is_card_out_of_memory(error)
        finally:
            unet.slice_elements = None
        free_cache()  # after the exception is gone, with the tensors that it holds
    kind = torch.cuda.OutOfMemoryError if on_card else LavieError
    raise kind(f"LaVie ran out of memory, even in its smallest steps. {advice}")


def check_interrupt() -> None:
    """Raise the host's own exception if the user pressed Cancel."""
    management = comfy("comfy.model_management")
    if management is not None:
        management.throw_exception_if_processing_interrupted()


def interruption() -> tuple[type[BaseException], ...]:
    """The exception that the host raises when the user pressed Cancel."""
    management = comfy("comfy.model_management")
    return () if management is None else (management.InterruptProcessingException,)


@contextlib.contextmanager
def cancellable(unet: VideoUNet) -> Iterator[None]:
    """A context manager: within it, Cancel acts between the blocks of the UNet, not only between its calls."""
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    hooks = [block.register_forward_pre_hook(lambda *_: check_interrupt()) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Progress:
    """Progress of one node through its phases (encode, sample, decode), in words, too, with previews from the host's
    previewer.

    Every report also checks for Cancel. spans: from where to where, in 0…1, each phase fills the node's bar, where a
    node has more to do than this counts; by default the bar fills with every phase. part: of the node's work, in words.
    """

    def __init__(
        self, model: Any = None, spans: Mapping[str, tuple[float, float]] | None = None, part: str = ""
    ) -> None:
        self._model, self._spans, self._part = model, spans, f"{part}: " if part else ""
        self._base = self._done = self._total = 0
        self._phase = ""
        self._preview: Callable[..., None] | None = None

    def step(self, stage: str, done: int, total: int, timestep: float = 0.0, x0: Tensor | None = None) -> None:
        """As `lavie.pipelines.Callback`: `done` of `total` in the phase named `stage`."""
        check_interrupt()
        if self._part or stage != "load":  # a loader's bar says it all
            doing(f"{self._part}{PHASES.get(stage, 'sampling')} {done}/{total}")
        utils = comfy("comfy.utils")
        if utils is None:
            return
        if stage != self._phase:
            self._phase, self._base = stage, self._base + self._total
        self._total = total
        done, total = self._on_bar(stage, done, total)
        if x0 is None:
            utils.ProgressBar(total).update_absolute(done, total)
        else:
            self._previewer(total)(done - 1, x0, None, total)

    def _on_bar(self, stage: str, done: int, total: int) -> tuple[int, int]:
        if self._spans is None:
            return self._base + done, self._base + total
        start, end = self._spans[stage]
        return round(BAR * (start + (end - start) * done / total)), BAR

    def image(self, done: int, total: int, pixels: np.ndarray) -> None:
        """Show an image, uint8 [height, width, 3], as the node's preview; `done` of `total` in the current phase."""
        utils = comfy("comfy.utils")
        if utils is not None:
            from PIL import Image

            done, total = self._base + done, self._base + total
            utils.ProgressBar(total).update_absolute(done, total, ("JPEG", Image.fromarray(pixels), PREVIEW_SIZE))

    def frames(self, phase: str) -> Callable[[int, int], None]:
        """A callback (frames done, frames in all) for a phase that counts frames."""
        return lambda done, total: self.step(phase, done, total)

    def _previewer(self, total: int) -> Callable[..., None]:
        preview, model = self._preview, self._model
        if preview is None:
            module = None if isinstance(model, (Patcher, type(None))) else comfy("latent_preview")
            preview = self._bar if module is None else moving(module.prepare_callback(model, total), model)
            self._preview = preview
        return preview

    @staticmethod
    def _bar(step: int, _x0: Tensor, _x: None, total: int) -> None:
        required("comfy.utils").ProgressBar(total).update_absolute(step + 1, total)
