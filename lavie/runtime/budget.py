"""Plans a stage within a memory limit: exact means first, then tiles and windows, which change the result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch

from ..config import StageConfig
from ..errors import UsageError
from .changes import how_much
from .estimate import Execution, Workload, kept_channels, stage_bytes
from .fallback import Attempt, attempts
from .free_memory import free, taken

MARGIN = 1.1  # for the kernels' own memory, and for gaps between tensors
VAE_TILES = (256, 128, 64, 32)  # edges in latent pixels

OFFLOADED = {
    "parts": "Text encoder, UNet and VAE are on the device in turn.",
    "blocks": "Text encoder, VAE and single blocks of the UNet are on the device in turn, which takes time.",
}


@dataclass(frozen=True)
class Plan:
    """How a stage keeps within a limit. config: the requested settings, with smaller windows and tiles if nothing else
    was enough. bytes: the estimated peak, of `limit` (0: none). notes: what was chosen, one sentence each.
    """

    config: StageConfig
    execution: Execution
    bytes: int = 0
    limit: int = 0
    notes: tuple[str, ...] = ()

    @property
    def vae_tile(self) -> int:
        return self.execution.vae_tile or self.config.tile

    @property
    def vae_frames(self) -> int | None:
        return self.execution.vae_frames or None

    @property
    def vae_metadata(self) -> dict[str, int]:
        """How decoding changes the result beyond what the settings say."""
        return {"vae_tile": self.vae_tile} if self.vae_tile != self.config.tile else {}

    def __str__(self) -> str:
        return " ".join((f"{in_words(self.bytes)} of {in_words(self.limit)}.", *self.notes))


def fitted(work: Workload, config: StageConfig, limit: int, offloads: bool) -> Plan:
    """The first plan whose estimate fits the limit.

    Args:
        offloads: parts can be kept elsewhere, as for a GPU.

    Raises:
        UsageError: not even the last plan fits; the message says what that one needs.
    """
    plans = [plan_of(work, config, limit, *each) for each in _choices(work, config, offloads)]
    for plan in plans:
        if plan.bytes <= limit:
            return plan
    least = min(plan.bytes for plan in plans)
    raise UsageError(
        f"The memory of {in_words(limit)} is too small: {in_words(least)} is the least that this takes. Allow more "
        "(--memory), or ask for a smaller size or fewer frames."
    )


def require_host_memory(work: Workload, config: StageConfig) -> None:
    """Refuse a job on the CPU that, as requested, takes more memory than the computer has free.

    Raises:
        UsageError: says what it takes, and how it would fit.
    """
    if work.device != "cpu":
        return
    cpu = torch.device("cpu")
    try:
        available = taken(cpu) + free(cpu)
    except UsageError:  # this system does not tell
        return
    needed = plan_of(work, config, available, *next(_choices(work, config, offloads=False))).bytes
    if needed > available:
        raise UsageError(
            f"The {work.stage.name} stage takes about {in_words(needed)} of memory as asked, and {in_words(available)} "
            "are free. Plan within them (--memory auto), ask for a smaller size or fewer frames, or close other "
            f"programs. --memory {math.ceil(needed / 1e9)}GB tries it all the same."
        )


def plan_of(
    work: Workload, config: StageConfig, limit: int, attempt: Attempt, offload: str, vae: tuple[int, int]
) -> Plan:
    """vae: frames and tile that the VAE sees at once; see `Execution`."""
    chosen = attempt.config
    made = work.stage.frames_made
    execution = Execution(
        guided=chosen.guidance_scale != 1,
        sequential_guidance=attempt.sequential_guidance,
        sliced=attempt.sliced,
        offload=offload,
        vae_frames=vae[0],
        vae_tile=vae[1] or chosen.tile,
        window=made(chosen.window) if chosen.window else 0,
        tile=chosen.tile,
        overlap=made(chosen.overlap),
        tile_overlap=chosen.tile_overlap,
        kept_channels=kept_channels(work.unet, chosen.speed),
    )
    needed = round(MARGIN * stage_bytes(work, execution))
    return Plan(chosen, execution, needed, limit, tuple(_notes(work.stage.name, config, execution, chosen, vae)))


def _choices(work: Workload, config: StageConfig, offloads: bool) -> Iterator[tuple[Attempt, str, tuple[int, int]]]:
    """What to try, in this order; each of the three starts as requested."""
    tries = list(_ever_smaller(config, work))
    exact = [each for each in tries if each.config == config]
    places = ("none", "parts", "blocks") if offloads else ("none",)
    ways = [(each, "none") for each in exact] + [(exact[-1], place) for place in places[1:]]
    tiles = [(1, tile) for tile in VAE_TILES if tile < max(work.height, work.width)]
    yield *ways[0], (0, 0)
    for vae in ((1, 0), *tiles):
        yield from ((*way, vae) for way in ways)
    for each, vae in product(tries[len(exact) :], [(1, 0), *tiles]):
        yield each, places[-1], vae


def _ever_smaller(config: StageConfig, work: Workload) -> Iterator[Attempt]:
    """`attempts`, repeated from the last one's windows and tiles until they cannot be halved."""
    stage, frames = work.stage, (work.frames - 1) // work.stage.key_frame_distance + 1
    tries = list(attempts(config, stage, frames, work.height, work.width))
    yield from tries
    while tries[-1].config != config:
        config = tries[-1].config
        tries = list(attempts(config, stage, frames, work.height, work.width))
        yield from (each for each in tries if each.config != config)


def _notes(
    stage: str, asked: StageConfig, execution: Execution, chosen: StageConfig, vae: tuple[int, int]
) -> Iterator[str]:
    if execution.sequential_guidance:
        yield "The two halves of the guidance are computed in turn."
    if execution.sliced:
        yield "The network works in slices."
    if execution.offload in OFFLOADED:
        yield OFFLOADED[execution.offload]
    if vae[0]:
        yield "The VAE sees one frame at a time."
    if vae[1]:
        yield f"It decodes tiles of {vae[1]} latent pixels, which {how_much('VAE tile', vae[1])}."
    if chosen.window != asked.window:
        much = how_much(f"{stage} window", chosen.window)
        yield f"Windows of {chosen.window} frames, {chosen.overlap} shared, which {much}. --window sets them."
    if chosen.tile != asked.tile:
        much = how_much(f"{stage} tile", chosen.tile)
        yield f"Tiles of {chosen.tile} pixels, {chosen.tile_overlap} shared, which {much}. --tile sets them."


def in_words(size: int) -> str:
    """As 3.1 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
