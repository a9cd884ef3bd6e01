"""The table of samplers and spacings: users' names and the diffusers schedulers behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SchedulerSpec:
    """class_name: in diffusers. settings: of that class. spacings: those it supports, the default first."""

    class_name: str
    spacings: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)


_EVEN = ("leading", "linspace", "trailing")
_SIGMAS = ("linspace", "leading", "trailing", "karras")

# ddpm: diffusers 0.16, which LaVie pins, ignored steps_offset there (timesteps 980 … 0).
SCHEDULERS: dict[str, SchedulerSpec] = {
    "ddpm": SchedulerSpec("DDPMScheduler", _EVEN, {"clip_sample": False}),
    "ddim": SchedulerSpec("DDIMScheduler", _EVEN, {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}),
    "euler": SchedulerSpec("EulerDiscreteScheduler", _SIGMAS),
    "euler_ancestral": SchedulerSpec("EulerAncestralDiscreteScheduler", _SIGMAS[:3]),
    "dpmpp_2m": SchedulerSpec("DPMSolverMultistepScheduler", _SIGMAS),
    "dpmpp_2m_sde": SchedulerSpec("DPMSolverMultistepScheduler", _SIGMAS, {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": SchedulerSpec("UniPCMultistepScheduler", _SIGMAS),
    "lcm": SchedulerSpec("LCMScheduler", ("leading",), {"clip_sample": False}),
}
SPACINGS = (*_EVEN, "karras")
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
