"""The diffusion objective: what the networks are asked to predict, and how much each noise level counts."""

from __future__ import annotations

from torch import Tensor

from ..sampling.schedulers import alphas_cumprod


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


def weighted_error(prediction: Tensor, truth: Tensor, timesteps: Tensor, prediction_type: str) -> Tensor:
    """Mean squared error, each clip weighted by min-SNR-5 (Hang et al. 2023, "Efficient Diffusion Training")."""
    alpha = alphas_cumprod().to(prediction.device)[timesteps]
    snr = alpha / (1 - alpha)
    weight = snr.clamp(max=5.0) / (snr if prediction_type == "epsilon" else snr + 1)
    error = (prediction.float() - truth.float()).square().flatten(1).mean(dim=1)
    return (weight * error).mean()


def _coefficients(latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    alpha = alphas_cumprod().to(latents.device)[timesteps].view(-1, *[1] * (latents.ndim - 1))
    return alpha.sqrt().to(latents.dtype), (1 - alpha).sqrt().to(latents.dtype)
