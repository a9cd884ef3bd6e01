"""From noise to latents: schedules, guidance, windows and the one denoising loop."""

from ..renamed import old_names
from .anchor import Anchor
from .denoise import Known, StepCallback, denoise
from .free_init import free_init
from .guidance import TextCondition, guided
from .motion import motion_bias
from .noise import draw_noise, seeded
from .prompt_schedule import PromptSchedule
from .schedule import Schedule, create_schedule
from .statistics import matched_statistics
from .windows import blended, regions, spans

__all__ = [
    "Anchor",
    "Known",
    "PromptSchedule",
    "Schedule",
    "StepCallback",
    "TextCondition",
    "blended",
    "create_schedule",
    "denoise",
    "draw_noise",
    "free_init",
    "guided",
    "matched_statistics",
    "motion_bias",
    "regions",
    "seeded",
    "spans",
]

__getattr__ = old_names(__name__)
