"""From noise to latents: schedules, guidance, windows and the one denoising loop."""

from .anchor import Anchor
from .denoise import Known, StepCallback, denoise
from .fifo import fifo
from .free_init import free_init
from .free_long import spectral_blend
from .free_noise import shuffled_noise, windowed
from .guidance import TextCondition, guided
from .motion import livelier
from .motion_injection import injected
from .noise import draw_noise, seeded
from .prompt_schedule import PromptSchedule
from .schedulers import SCHEDULERS, SPACINGS, create_schedule
from .statistics import matched_statistics
from .windows import blended, regions, spans

__all__ = [
    "SCHEDULERS",
    "SPACINGS",
    "Anchor",
    "Known",
    "PromptSchedule",
    "StepCallback",
    "TextCondition",
    "blended",
    "create_schedule",
    "denoise",
    "draw_noise",
    "fifo",
    "free_init",
    "guided",
    "injected",
    "livelier",
    "matched_statistics",
    "regions",
    "seeded",
    "shuffled_noise",
    "spans",
    "spectral_blend",
    "windowed",
]
