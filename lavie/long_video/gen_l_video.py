"""Gen-L-Video (Wang et al. 2023): all frames are denoised together, by the whole network in overlapping windows.

At every step what the windows predict for a frame is averaged (the paper's temporal co-denoising), so that neighbours
agree; what lies more than a window apart knows nothing of each other but through them.
"""

from __future__ import annotations

from torch import Tensor

from ..job import Job
from ..sampling import blended, motion_bias, regions, spans
from .clips import check_request, clip_shape
from .settings import LongVideoSettings


def sample(job: Job, num_frames: int, settings: LongVideoSettings) -> Tensor:
    """See `Method.sample`. The network's memory is that of one clip."""
    check_request(job, num_frames)
    windows = spans(num_frames, job.config.clip_frames, settings.context_frames)
    noise, iterations = job.noise(clip_shape(job, num_frames)), settings.free_init_iterations
    parts = regions(noise.shape[2:], windows)
    after_window, after_step = job.progress("base", job.config.num_inference_steps * len(parts) * iterations)
    predict = job.predictor(strategy=motion_bias(settings.motion))
    predict = blended(predict, parts, (settings.context_frames, 0), after_window)
    return job.denoise(predict, noise, after_step, iterations)
