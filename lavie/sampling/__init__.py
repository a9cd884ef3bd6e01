"""From noise to latents: schedules, guidance, windows and the one denoising loop."""

from .denoise import Known, StepCallback, denoise
from .guidance import TextCondition, guided
from .noise import draw_noise, seeded
from .schedulers import SCHEDULERS, SPACINGS, create_schedule
from .windows import blended, regions, spans

__all__ = [
    "SCHEDULERS",
    "SPACINGS",
    "Known",
    "StepCallback",
    "TextCondition",
    "blended",
    "create_schedule",
    "denoise",
    "draw_noise",
    "guided",
    "regions",
    "seeded",
    "spans",
]
