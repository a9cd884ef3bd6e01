"""How much of a stage's work is skipped, at a cost in quality; docs/performance.md has the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import UsageError
from .stages import STAGES


@dataclass(frozen=True)
class Speed:
    """What a stage skips; by default nothing, and then the result is bit for bit the same.

    steps: the share of the stage's own number of steps, above 0.
    scheduler: takes these steps; "": the stage's own.
    guidance_from, guidance_until: where guidance acts, from 0 (timestep 999, noise) to 1 (timestep 0, done); outside,
        only the prompt's half is evaluated. See `sampling.guidance_interval`.
    guidance_every: evaluate both halves of the guidance at every n-th step only; see `sampling.guidance_reuse`.
    full_every: run the whole network at every n-th step only; see `models.deep_feature`.
    depth: how many layers of the up blocks run at the other steps.
    vae_keys: keys that a pixel attends to in the decoder of the upscaler's VAE, at most; 0: all; see
        `models.vae_attention`.
    name: of a preset.
    """

    steps: float = 1.0
    scheduler: str = ""
    guidance_from: float = 0.0
    guidance_until: float = 1.0
    guidance_every: int = 1
    full_every: int = 1
    depth: int = 1
    vae_keys: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.steps <= 1:
            raise UsageError(f"The share of the steps must be above 0 and at most 1, not {self.steps:g}.")
        if not 0 <= self.guidance_from <= self.guidance_until <= 1:
            raise UsageError(
                "Guidance must act from one place to a later one, both between 0 and 1, not from "
                f"{self.guidance_from:g} to {self.guidance_until:g}."
            )
        if min(self.guidance_every, self.full_every, self.depth) < 1:
            raise UsageError("guidance_every, full_every and depth of a speed must be 1 or more.")
        if self.vae_keys < 0:
            raise UsageError(f"vae_keys of a speed must be 0 (all) or more, not {self.vae_keys}.")

    def metadata(self) -> str | dict[str, Any]:
        """The preset's name, or the settings that skip something."""
        changed = {key: value for key, value in asdict(self).items() if value != getattr(EXACT, key) and key != "name"}
        return self.name or changed


EXACT = Speed(name="exact")

# name: what each stage skips.
SPEEDS: dict[str, dict[str, Speed]] = {
    "exact": dict.fromkeys(STAGES, EXACT),
    "balanced": {
        **dict.fromkeys(STAGES, Speed(0.5, "ddim", name="balanced")),
        "upscaler": Speed(0.12, "ddim", guidance_every=2, vae_keys=2**14, name="balanced"),
    },
    "fast": {
        **dict.fromkeys(STAGES, Speed(0.5, "ddim", full_every=2, name="fast")),
        "upscaler": Speed(0.08, "ddim", guidance_every=2, vae_keys=2**14, name="fast"),
    },
}


def speed_of(stage: str, speed: str | Speed | Mapping[str, Any]) -> Speed:
    """A preset's settings for a stage. Custom settings, or their `Speed.metadata()`, apply to every stage.

    Raises:
        UsageError: there is no such preset, or no such setting.
    """
    if isinstance(speed, Speed):
        return speed
    if isinstance(speed, Mapping):
        unknown = sorted(set(speed) - {each.name for each in fields(Speed)})
        if unknown:
            raise UsageError(f"A speed has no setting {', '.join(unknown)}.")
        return Speed(**speed)
    if speed not in SPEEDS:
        raise UsageError(f"Unknown speed '{speed}'. Choose {', '.join(SPEEDS)}.")
    return SPEEDS[speed][stage]
