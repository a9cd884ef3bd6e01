"""Gen-L-Video (Wang et al. 2023): all frames are denoised together, by the whole network in overlapping windows.

At every step the windows' predictions for a frame are averaged (the paper's temporal co-denoising), so that neighbours
agree. Frames more than a window apart influence each other only through the windows between them.
"""

from __future__ import annotations

from torch import Tensor

from ..job import Job
from ..sampling import blended, motion_bias, regions, spans
from .clips import clip_shape
from .settings import LongVideoSettings


def sample(job: Job, num_frames: int, settings: LongVideoSettings) -> Tensor:
    """See `Method.sample`. The network needs the memory of one clip."""
    windows = spans(num_frames, job.config.clip_frames, settings.context_frames)
    noise, iterations = job.noise(clip_shape(job.config, num_frames)), settings.free_init_iterations
    parts = regions(noise.shape[2:], windows)
    after_window, after_step = job.progress("base", job.config.num_inference_steps * len(parts) * iterations)
    predict = job.predictor(strategy=motion_bias(settings.motion))
    predict = blended(predict, parts, (settings.context_frames, 0), after_window)
    return job.denoise(predict, noise, after_step, iterations)
