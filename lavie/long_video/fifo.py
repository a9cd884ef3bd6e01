"""FIFO-Diffusion (Kim et al. 2024): endless video from a model of short clips, in the memory of a few of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice

import torch
from torch import Tensor

from ..errors import UsageError
from ..job import Job
from ..sampling import Schedule, create_schedule, draw_noise, motion_bias
from ..sampling.denoise import WHOLE
from ..sampling.guidance import Predict
from .clips import clamped, clip_shape
from .settings import LongVideoSettings


def sample(job: Job, num_frames: int, settings: LongVideoSettings) -> Tensor:
    """A clip, then frames from a queue that starts from it and is as long as `partitions` clips; see `Method.sample`.

    The queue's steps are those of DDIM, whatever the scheduler of the clip.
    """
    config, window, lookahead = job.config, job.config.clip_frames, settings.lookahead
    schedule = create_schedule("ddim", settings.partitions * window, prediction_type=config.prediction_type)
    windows, before = queue_windows(len(schedule), window, lookahead), frames_before(len(schedule), window, lookahead)
    rounds, iterations = len(schedule) - window + num_frames, settings.free_init_iterations
    total = config.num_inference_steps * max(1, iterations) + rounds * len(windows)
    after_window, after_step = job.progress("base", total)

    def predict(first: int, stop: int) -> Predict:
        texts = job.text.at(clamped(first, stop, num_frames))
        return job.predictor(texts, strategy=motion_bias(settings.motion))

    noise = job.noise(clip_shape(job.config, window))
    clip = job.denoise(predict(0, window), noise, after_step, iterations)
    queue = predict(-before, num_frames + len(schedule))
    made = fifo(queue, clip, schedule, job.generators, lookahead, after_window)
    return torch.cat(list(islice(made, num_frames)), dim=2)


def ddim_step(prediction: Tensor, latents: Tensor, before: Tensor, after: Tensor, prediction_type: str) -> Tensor:
    """DDIM (Song et al. 2020) without randomness, from ᾱ `before` to ᾱ `after`, which broadcast to the latents.

    prediction_type: see `lavie.schedulers.PREDICTION_TYPES`.
    """
    signal, noise_std = before.sqrt(), (1 - before).sqrt()
    if prediction_type == "epsilon":
        x0 = (latents - noise_std * prediction) / signal
    else:
        x0 = prediction if prediction_type == "sample" else signal * latents - noise_std * prediction
    noise = (latents - signal * x0) / noise_std
    return after.sqrt() * x0 + (1 - after).sqrt() * noise


def queue_windows(steps: int, window: int, lookahead: bool) -> list[tuple[slice, int]]:
    """The windows of the queue in one round, and how many of the last frames of each move on.

    With lookahead, half a window of finished frames precedes the queue's `steps`.

    Raises:
        UsageError: fewer steps than a window has frames.
    """
    if steps < window:
        raise UsageError(f"FIFO-Diffusion needs as many steps as a clip has frames, {window}, or more; not {steps}.")
    history = window // 2 if lookahead else 0
    stops = [*range(window - history, steps, window - history), steps]
    starts = [0, *stops[:-1]]
    return [
        (slice(history + stop - window, history + stop), stop - start)
        for start, stop in zip(starts, stops, strict=True)
    ]


def frames_before(steps: int, window: int, lookahead: bool) -> int:
    """How many entries of the first queue precede the first frame of the clip that it is made from."""
    return steps - window + (window // 2 if lookahead else 0)


@torch.no_grad()
def fifo(
    predict: Predict,
    clip: Tensor,
    schedule: Schedule,
    generators: list[torch.Generator],
    lookahead: bool = True,
    after: Callable[[float], None] | None = None,
) -> Iterator[Tensor]:
    """Yields finished frames [batch, 4, 1, height, width] without end; the first ones are like the clip's.

    A queue holds as many frames as the schedule has steps, each one step behind the frame before it. Diagonal denoising
    moves all of them on by one step, in windows as long as the clip (latent partitioning). Then the first one is
    finished and leaves, and noise joins at the end.

    Args:
        predict: gets a timestep for each frame, [1, window], and a region whose frames count from the first entry of
            the first queue: frame n of the video is at n + `frames_before` there.
        clip: scaled latents [batch, 4, window, height, width] that the first queue is made from: each noised to the
            level of its place, the first one repeated as needed.
        schedule: only its timesteps and noise levels are used; the steps are those of DDIM.
        lookahead: every window moves only its later half; the earlier half has less noise and guides it. Better, at
            twice the evaluations.
        after: called with the highest timestep after every evaluation of the network; raise in it to stop.

    Raises:
        UsageError: fewer steps than a window has frames.
    """
    window, steps = clip.shape[2], len(schedule)
    windows, history = queue_windows(steps, window, lookahead), window // 2 if lookahead else 0
    levels, (before, finished) = schedule.timesteps.flip(0), _alphas(schedule, clip)
    levels, before, finished = (_led(each, history) for each in (levels, before, finished))
    queue = _first_queue(clip, before, generators)
    for first in count():
        moved = [queue[:, :, :history]]
        for frames, number in windows:
            region = (slice(first + frames.start, first + frames.stop), *WHOLE[1:])
            seen = queue[:, :, frames]
            prediction = predict(seen, levels[None, frames], region)
            made = ddim_step(prediction, seen, before[frames], finished[frames], schedule.prediction_type)
            moved.append(made[:, :, window - number :])
            if after is not None:
                after(float(levels[frames][-1]))
        queue = torch.cat(moved, dim=2)
        if first >= steps - window:  # before that it is the clip's first frame again
            yield queue[:, :, history : history + 1].clone()  # a view would keep the whole queue
        fresh = draw_noise((clip.shape[1], 1, *clip.shape[3:]), generators).to(clip)
        queue = torch.cat((queue[:, :, 1:], fresh), dim=2)


def _alphas(schedule: Schedule, clip: Tensor) -> tuple[Tensor, Tensor]:
    """ᾱ of the queue's places before and after a round, [steps, 1, 1] each, least noise first."""
    alphas = schedule.alphas().flip(0).float().to(clip)[:, None, None]
    return alphas[1:], alphas[:-1]


def _led(places: Tensor, history: int) -> Tensor:
    """Finished frames before the queue get the timestep of its first place."""
    return torch.cat((places[:1].expand(history, *places.shape[1:]), places))


def _first_queue(clip: Tensor, alphas: Tensor, generators: list[torch.Generator]) -> Tensor:
    frame = (torch.arange(len(alphas)) - len(alphas) + clip.shape[2]).clamp(min=0)
    noise = draw_noise((clip.shape[1], len(alphas), *clip.shape[3:]), generators).to(clip)
    return alphas.sqrt() * clip[:, :, frame] + (1 - alphas).sqrt() * noise
