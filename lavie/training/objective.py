"""The diffusion objective: what the networks are asked to predict, and how much each noise level counts."""

from __future__ import annotations

from torch import Tensor

from ..sampling.schedulers import alphas_cumprod

LARGEST_CLEAN_WEIGHT = 6.0
LARGEST_NOISE_WEIGHT = 25.0


def add_noise(latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """sqrt(ᾱ) latents + sqrt(1 − ᾱ) noise, with LaVie's linear betas; timesteps int64 [batch]."""
    signal, spread = _coefficients(latents, timesteps)
    return signal * latents + spread * noise


def target(latents: Tensor, noise: Tensor, timesteps: Tensor, prediction_type: str) -> Tensor:
    """The noise itself ("epsilon") or sqrt(ᾱ) noise − sqrt(1 − ᾱ) latents ("v_prediction")."""
    if prediction_type == "epsilon":
        return noise
    signal, spread = _coefficients(latents, timesteps)
    return signal * noise - spread * latents


def weighted_error(
    prediction: Tensor, truth: Tensor, timesteps: Tensor, prediction_type: str, emphasis: Tensor | None = None
) -> Tensor:
    """Mean squared error in which an error of the clean latents counts SNR + 1, capped.

    That is v-prediction's own weight (Salimans & Ho 2022) with the cap of min-SNR (Hang et al. 2023). For "epsilon"
    it lifts the noisiest levels, where layout and motion are decided and plain noise errors hardly tell.
    emphasis: weights of places and frames, broadcast to the prediction; their scale does not matter.
    """
    alpha = alphas_cumprod().to(prediction.device)[timesteps]
    snr = alpha / (1 - alpha)
    of_clean = (snr + 1).clamp(max=LARGEST_CLEAN_WEIGHT)
    if prediction_type == "epsilon":
        weight = (of_clean / snr).clamp(max=LARGEST_NOISE_WEIGHT)
    else:
        weight = of_clean / (snr + 1)
    error = (prediction.float() - truth.float()).square()
    if emphasis is not None:
        error = error * (emphasis / emphasis.mean(dim=(1, 2, 3, 4), keepdim=True))
    error = error.flatten(1).mean(dim=1)
    return (weight * error).mean()


def _coefficients(latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    alpha = alphas_cumprod().to(latents.device)[timesteps].view(-1, *[1] * (latents.ndim - 1))
    return alpha.sqrt().to(latents.dtype), (1 - alpha).sqrt().to(latents.dtype)
