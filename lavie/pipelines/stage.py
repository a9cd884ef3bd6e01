"""One loaded stage of a family: its UNet, VAE and text encoder, and its settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad

from ..checkpoints import load_unet
from ..config import BUNDLED, Family, StageConfig, find_family
from ..errors import LavieError, UsageError
from ..job import Callback, Job
from ..models import VideoUNet
from ..models.latents import decode_slices, encode_video, to_uint8
from ..models.text_encoder import TextEncoder
from ..models.vae_attention import pooled_keys
from ..renamed import old_attribute
from ..runtime import choose_device, choose_dtype, storage_device, vae_dtype
from ..runtime.budget import Plan, fitted, require_host_memory
from ..runtime.estimate import Execution, Weights, Workload
from ..runtime.free_memory import taken
from ..runtime.placement import Placement, block_bytes, weight_bytes
from ..sampling import TextCondition
from ..sampling.noise import Draw
from ..stages import MASK, STAGES, StageSpec
from .parts import load_text_encoder_of, load_vae_of, require_files, stand_ins

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from typing_extensions import Self

    from ..control import Control
    from ..control.hinted import HintedControl
    from ..lora import Applied, Lora, LoraStack

log = logging.getLogger(__name__)

Change = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Stage:
    """The parts of a stage on their device; `dtype` is the precision of UNet and text encoder (of the VAE: see
    `vae_dtype`).

    placement: moves the parts to the device when they are used, if memory is limited.
    """

    name: str
    family: Family
    config: StageConfig
    unet: VideoUNet
    vae: AutoencoderKL
    text_encoder: TextEncoder
    device: torch.device
    dtype: torch.dtype
    placement: Placement | None = None

    @classmethod
    def load(
        cls,
        name: str,
        name_or_path: str | Family,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        placed: bool = False,
    ) -> Stage:
        """Load the stage `name` of a family; if `placed`, into main memory, from where `placement` moves its parts.

        Raises:
            LavieError: the family has no such stage, or its files are missing, broken or of another stage.
        """
        family = name_or_path if isinstance(name_or_path, Family) else find_family(name_or_path)
        config = family.stage(name)
        device = choose_device(device)
        dtype = choose_dtype(dtype, device)
        require_files(family, config)
        if sentence := stand_ins(family, [name]):
            log.warning(sentence)
        home = torch.device("cpu") if placed else device
        unet = load_unet(family.path(config.unet), stage=name, dtype=dtype, device=home)
        vae = load_vae_of(family, config, dtype=vae_dtype(dtype, device), device=home)
        text_encoder = load_text_encoder_of(family, config, dtype=dtype, device=home)
        placement = Placement(unet, vae, text_encoder.model, device) if placed else None
        return cls(name, family, config, unet, vae, text_encoder, device, dtype, placement)

    @property
    def spec(self) -> StageSpec:
        return STAGES[self.name]

    def bring(self, part: str) -> None:
        """Move the part "unet", "vae" or "text_encoder" to the device, because it is about to be used."""
        if self.placement is not None:
            self.placement.bring(part)

    def release(self) -> None:
        """Move all parts off the device, if memory is limited."""
        if self.placement is not None:
            self.placement.release()

    def embed(self, prompts: list[str], negative_prompt: str) -> TextCondition:
        """Embeddings of the prompts, with the stage's suffix, and of the negative prompt for each."""
        self.bring("text_encoder")
        prompts = [prompt + self.config.prompt_suffix for prompt in prompts]
        states = self.text_encoder.encode([*prompts, negative_prompt])
        return TextCondition.of(states[:-1], states[-1:])

    def encode(self, video: Tensor, plan: Plan | None = None, **options: Any) -> Tensor:
        """`encode_video`, according to a plan if there is one."""
        self.bring("vae")
        return encode_video(self.vae, video, frames_per_batch=plan and plan.vae_frames, **options)

    def grey_latents(self, height: int, width: int) -> Tensor | None:
        """Scaled latents [1, 4, 1, h, w] of a mid-grey frame of that size, rounded up to a multiple of 8, for a UNet in
        the mask form; None for any other UNet, which takes none."""
        if self.unet.config.in_channels != MASK:
            return None
        height, width = (-(-side // 8) * 8 for side in (height, width))
        return self.encode(torch.zeros(1, 3, 1, height, width, device=self.device))

    def decode(
        self,
        latents: Tensor,
        plan: Plan,
        callback: Callback | None,
        rounding: str = "nearest",
        change: Change | None = None,
    ) -> np.ndarray:
        """uint8 frames [batch, frames, height, width, 3] of scaled latents, a few frames at a time, according to a
        plan.

        change: applied to each slice, float32 [batch, 3, some frames, height, width], and its first frame's number.
        """
        if not latents.isfinite().all():
            raise LavieError(
                f"The {self.name} stage produced invalid numbers (NaN). Try dtype float32, or check the weights."
            )

        def progress(done: int, total: int) -> None:
            if callback is not None:
                callback(f"{self.name} decode", done, total, 0.0, None)

        self.bring("vae")
        frames, start = [], 0
        with pooled_keys(self.vae, plan.config.speed.vae_keys):
            for part in decode_slices(self.vae, latents, plan.vae_frames, plan.vae_tile or None, progress):
                changed = part if change is None else change(part, start)
                frames.append(rearrange(to_uint8(changed, rounding), "b c f h w -> b f h w c").cpu())
                start += part.shape[2]
        return torch.cat(frames, dim=1).numpy()


class StagePipeline:
    """A pipeline of one stage; `stage_name` says which. Calls refuse (`UsageError`) settings that cannot work.

    memory: the most bytes that a call may use, as estimated; None: no limit. notify: called with a sentence that says
    how a call keeps within it.
    """

    stage_name: ClassVar[str]
    settings_of: ClassVar[str] = ""  # another stage than the loaded one, whose settings it takes
    float8 = False  # the weights are kept in 8 bits
    tell = old_attribute("tell", "notify")

    def __init__(self, stage: Stage, memory: int | None = None) -> None:
        self.stage = stage
        self.memory = memory
        self.notify: Callable[[str], None] = log.info
        self._notified: set[str] | None = None
        self.loras: tuple[Lora, ...] = ()
        self.controls: tuple[Control, ...] = ()
        self._hinted: tuple[HintedControl, ...] = ()
        self._networks: dict[Path, Any] = {}  # of controls, by file
        self._loras: LoraStack | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Family = BUNDLED,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        memory: int | None = None,
    ) -> Self:
        """Load this stage of a family: "lavie-tiny", "lavie" or a folder.

        Raises:
            LavieError: files are missing, broken or of another stage.
        """
        family = name_or_path if isinstance(name_or_path, Family) else find_family(name_or_path)
        return cls(cls._loaded(family, device, dtype, memory is not None), memory)

    @classmethod
    def _loaded(cls, family: Family, *where: Any) -> Stage:
        return Stage.load(cls.stage_name, family, *where)

    def configured(self, **given: Any) -> StageConfig:
        """The stage's settings, changed by those given; see `StageConfig.configured`."""
        return self.stage.config.configured(self.settings_of or self.stage.name, **given)

    def described(self, config: StageConfig, prompt: str, seed: int, **more: Any) -> dict[str, Any]:
        """Everything that shaped a video, for its metadata. more: what is not a setting of the stage."""
        return {
            **self.origin(),
            "prompt": prompt,
            "seed": seed,
            **config.described(self.settings_of or self.stage.name),
            **more,
        }

    def job(
        self,
        text: TextCondition,
        plan: Plan,
        generators: list[torch.Generator],
        callback: Callback | None = None,
        draw: Draw | None = None,
    ) -> Job:
        """A job for this stage's network, which moves to its device, as planned."""
        self.stage.bring("unet")
        return Job(
            self.stage.unet,
            replace(text, controls=(*text.controls, *self._hinted)),
            plan.config,
            generators,
            self.stage.device,
            draw,
            plan.execution.sequential_guidance,
            callback=callback,
        )

    def planned(
        self, config: StageConfig, num_frames: int, height: int, width: int, batch: int = 1, encodes: bool | None = None
    ) -> Plan:
        """Plan a call within `memory` and prepare the stage for it; without a limit as requested, if a CPU has that
        much free.

        Args:
            num_frames, height, width: of the frames that it is given, or that the base makes.
            encodes: frames come in through the VAE; by default as the stage always has it.

        Raises:
            UsageError: the memory is not enough.
        """
        stage, latents = self.stage, self.stage.spec.latents_of(num_frames, height, width)
        work = _work(stage, latents, batch, stage.spec.encodes if encodes is None else encodes)
        if self.memory is None:
            require_host_memory(work, config)
            return Plan(config, Execution())
        plan = fitted(work, config, self.memory, offloads=stage.device.type != "cpu")
        # Once, not for every segment of a video.
        if self._notified is None or not self._notified.issuperset(plan.notes):
            self.notify(f"{stage.name}: {plan}")
            self._notified = set(plan.notes)
        if stage.placement is not None:
            stage.placement.mode = plan.execution.offload
        stage.unet.slice_elements = work.slice_elements(plan.execution) if plan.execution.sliced else None
        return plan

    def origin(self) -> dict[str, Any]:
        """Model, LoRAs and controls, for the metadata of a video."""
        loras = {"loras": [lora.metadata() for lora in self.loras]} if self.loras else {}
        controls = {"controls": [control.metadata() for control in self.controls]} if self.controls else {}
        return {"model": self.stage.family.name, **loras, **controls}

    def set_controls(self, controls: Sequence[Control]) -> None:
        """Let the stage follow exactly these; without any ([]) it is as before.

        Raises:
            LavieError: a network's file is missing, damaged, or made for another model; everything stays as it was.
            UsageError: this stage takes none.
        """
        stage = self.stage
        if controls and not stage.spec.takes_controls:
            raise UsageError(f"LaVie's {stage.name} follows the frames it is given; no ControlNet acts on it.")
        known, where = dict(self._networks), {"dtype": stage.dtype, "device": stage.device}
        hinted = tuple(control.loaded(stage.unet.config, known, **where) for control in controls)
        used = {control.path for control in controls}
        self._networks = {path: network for path, network in known.items() if path in used}
        self.controls, self._hinted = tuple(controls), hinted

    def set_loras(self, loras: Sequence[Lora]) -> list[Applied]:
        """Apply exactly these LoRAs to the stage's UNet and text encoder; returns the result for each and logs layers
        that do not fit.

        A new strength needs no loading. Without LoRAs ([]) the weights are restored bit for bit.

        Raises:
            LavieError: a LoRA does not fit; everything stays as it was.
            UsageError: no Stable Diffusion 1.x LoRA fits this stage.
        """
        if not self.stage.spec.takes_loras:
            raise UsageError(f"LaVie's {self.stage.name} is no Stable Diffusion 1.x model, so no LoRA fits it.")
        from ..lora import LoraStack

        if self._loras is None:
            self._loras = LoraStack(self.stage.unet, self.stage.text_encoder.model)
        reports = self._loras.set(loras)
        self.loras = tuple(loras)
        for lora in reports:
            if lora.left:
                log.warning("%s: %d layers have no place here: %s", lora.name, len(lora.left), ", ".join(lora.left))
        return reports


def _work(stage: Stage, latents: tuple[int, int, int], batch: int, encodes: bool) -> Workload:
    weights = Weights(
        unet=weight_bytes(stage.unet),
        block=block_bytes(stage.unet),
        vae=weight_bytes(stage.vae),
        text_encoder=weight_bytes(stage.text_encoder.model),
    )
    widths = stage.vae.config["block_out_channels"]
    counted = weights.all if stage.placement is None else stage.placement.weight_bytes()
    return Workload(
        stage.spec,
        stage.unet.config,
        weights,
        batch,
        *latents,
        itemsize=stage.dtype.itemsize,
        scale=2 ** (len(widths) - 1),
        vae_width=widths[0],
        encodes=encodes,
        device=stage.device.type,
        beside=max(0, taken(stage.device) - counted),
    )


def to_video(frames: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [frames, height, width, 3] → float32 [1, 3, frames, height, width] in −1…1, in the storage that its size
    allows."""
    video = rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "f h w c -> 1 c f h w")
    return video.to(storage_device(video.numel(), device)).float() / 127.5 - 1


def padded_video(frames: np.ndarray, device: torch.device) -> Tensor:
    """`to_video`, with the last rows and columns repeated up to a multiple of 8."""
    video = to_video(frames, device)
    height, width = video.shape[3:]
    return pad(video[0], (0, -width % 8, 0, -height % 8), mode="replicate")[None]
