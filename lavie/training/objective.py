"""The diffusion objective: what the networks predict, and how much each noise level counts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UsageError
from ..sampling.schedule import NUM_TRAIN_TIMESTEPS, alphas_cumprod
from .settings import WEIGHTINGS

MIN_SNR_GAMMA = 5.0
LARGEST_CLEAN_WEIGHT = 6.0
LARGEST_NOISE_WEIGHT = 25.0


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """sqrt(ᾱ) latents + sqrt(1 − ᾱ) noise, with LaVie's linear betas.

    latents, noise: [batch, channels, frames, height, width]. timesteps: int64 [batch], or [batch, frames] where frames
    have noise levels of their own (see `frame_timesteps`).
    """
    signal, noise_std = _coefficients(latents, timesteps)
    return signal * latents + noise_std * noise


def target(latents: Tensor, noise: Tensor, timesteps: Tensor, prediction_type: str) -> Tensor:
    """The network's target, in the shapes of `add_noise`.

    The noise itself ("epsilon"), sqrt(ᾱ) noise − sqrt(1 − ᾱ) latents ("v_prediction"), or the latents ("sample").
    """
    if prediction_type in ("epsilon", "sample"):
        return noise if prediction_type == "epsilon" else latents
    signal, noise_std = _coefficients(latents, timesteps)
    return signal * noise - noise_std * latents


def frame_timesteps(timesteps: Tensor, num_frames: int) -> Tensor:
    """The noise level of every frame of a joint sample: [batch, 1 + M] → [batch, num_frames + M]."""
    return torch.cat((timesteps[:, :1].expand(-1, num_frames), timesteps[:, 1:]), dim=1)


def anchored_timesteps(num_frames: int, generator: torch.Generator) -> Tensor:
    """Noise levels int64 [num_frames]: one for all frames but the anchor, which has less noise, or none.

    What the other frames do not show then has to come from the anchor and from the caption's words about motion, so the
    network learns how frames follow from one another. Any frame may be the anchor, at any level below the others',
    usually a low one. Their level is the higher of two draws, because there is little to learn where they already show
    enough. After Diffusion Forcing (Chen et al. 2024), whose frames all have levels of their own.
    """
    level = torch.randint(NUM_TRAIN_TIMESTEPS, (2,), generator=generator).max()
    levels = level.repeat(num_frames)
    anchor = int(torch.randint(num_frames, (), generator=generator))
    levels[anchor] = (level * torch.rand((), generator=generator).square()).long()
    return levels


def level_weights(timesteps: Tensor, prediction_type: str, weighting: str) -> Tensor:
    """How much a squared error of the prediction counts at each noise level; float32 in the shape of `timesteps`.

    "uniform": all alike, equation 1 of the latent diffusion paper. "min-snr": min(SNR, 5) per error of the clean
    latents (Hang et al. 2023). "clean": SNR + 1 per error of the clean latents, which is v-prediction's own weight
    (Salimans & Ho 2022), at most 6, and at most 25 per error of the noise; for "epsilon" it lifts the noisiest levels,
    where layout and motion are decided and plain noise errors hardly tell.

    Raises:
        UsageError: a weighting of another name.
    """
    alpha = alphas_cumprod().to(timesteps.device)[timesteps]
    snr = alpha / (1 - alpha)
    # (error of the clean latents)² · per_clean = (error of the prediction)²
    per_clean = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}[prediction_type]
    if weighting == "uniform":
        return alpha.new_ones(alpha.shape)
    if weighting == "min-snr":
        return snr.clamp(max=MIN_SNR_GAMMA) / per_clean
    if weighting != "clean":
        raise UsageError(f"Unknown loss weighting '{weighting}'. Choose {', '.join(WEIGHTINGS)}.")
    weight = (snr + 1).clamp(max=LARGEST_CLEAN_WEIGHT) / per_clean
    return weight.clamp(max=LARGEST_NOISE_WEIGHT) if prediction_type == "epsilon" else weight


def example_errors(
    prediction: Tensor,
    truth: Tensor,
    timesteps: Tensor,
    prediction_type: str,
    weighting: str = "clean",
    mask_weights: Tensor | None = None,
) -> Tensor:
    """The weighted mean squared error of every example: [batch, channels, frames, height, width] → float32 [batch].

    timesteps: int64 [batch], or [batch, frames] where frames have noise levels of their own.
    mask_weights: weights of places and frames, broadcast to the prediction; their scale does not matter.
    """
    error = (prediction.float() - truth.float()).square()
    if mask_weights is not None:
        error = error * (mask_weights / mask_weights.mean(dim=(1, 2, 3, 4), keepdim=True))
    weights = level_weights(timesteps, prediction_type, weighting)
    if weights.ndim == 1:
        return weights * error.flatten(1).mean(dim=1)
    return (weights * error.mean(dim=(1, 3, 4))).mean(dim=1)


def joint_errors(
    prediction: Tensor,
    truth: Tensor,
    timesteps: Tensor,
    num_images: int,
    prediction_type: str,
    weighting: str = "clean",
    mask_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Errors of a joint sample, whose last `num_images` frames are images: of the videos and of the images.

    An image's error is that of a clip of one frame, with its own mask weights.

    Args:
        prediction, truth: [batch, channels, T + M, height, width].
        timesteps: int64 [batch], [batch, 1 + M] or [batch, T + M].
        mask_weights: [batch, 1, T + M, height, width].

    Returns:
        float32 [batch] and [batch · M].
    """
    frames = prediction.shape[2] - num_images
    if timesteps.ndim == 1:
        timesteps = timesteps[:, None].expand(-1, 1 + num_images)
    of_video, of_images = timesteps[:, :-num_images], timesteps[:, -num_images:]
    of_video = of_video[:, 0] if of_video.shape[1] == 1 else of_video

    def errors(part: Callable[[Tensor], Tensor], levels: Tensor) -> Tensor:
        weights = None if mask_weights is None else part(mask_weights)
        return example_errors(part(prediction), part(truth), levels, prediction_type, weighting, weights)

    video = errors(lambda x: x[:, :, :frames], of_video)
    return video, errors(lambda x: _as_clips(x[:, :, frames:]), of_images.flatten())


def joint_loss(video: Tensor, image: Tensor, alpha: float = 1.0) -> dict[str, Tensor]:
    """The means of both parts and "total" = video + alpha · image (paper, equations 1 and 3)."""
    video, image = video.mean(), image.mean()
    return {"total": video + alpha * image, "video": video, "image": image}


def weighted_error(
    prediction: Tensor, truth: Tensor, timesteps: Tensor, prediction_type: str, mask_weights: Tensor | None = None
) -> Tensor:
    """The mean of `example_errors` with the weighting "clean"."""
    return example_errors(prediction, truth, timesteps, prediction_type, "clean", mask_weights).mean()


def _as_clips(images: Tensor) -> Tensor:
    """[batch, channels, M, height, width] → [batch · M, channels, 1, height, width]."""
    return images.transpose(1, 2).flatten(0, 1)[:, :, None]


def _coefficients(latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    alpha = alphas_cumprod().to(latents.device)[timesteps]
    shape = (len(alpha), 1, -1) if alpha.ndim == 2 else (-1, 1, 1)
    alpha = alpha.view(*shape, *[1] * (latents.ndim - 3))
    return alpha.sqrt().to(latents.dtype), (1 - alpha).sqrt().to(latents.dtype)
