"""Noise schedules: diffusers' schedulers with LaVie's betas, under the names that users know.

LaVie's betas are truly linear, 1e-4 … 0.02 (diffusers "linear"; ComfyUI and CompVis call this "sqrt_linear").
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import UsageError
from ..schedulers import PREDICTION_TYPES, SCHEDULERS

NUM_TRAIN_TIMESTEPS = 1000
LINEAR_BETAS: dict[str, Any] = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}

LCM_MAX_STEPS = 50


@lru_cache(maxsize=1)
def alphas_cumprod() -> Tensor:
    """ᾱ of LaVie's linear betas, float32 [1000]."""
    betas = torch.linspace(LINEAR_BETAS["beta_start"], LINEAR_BETAS["beta_end"], NUM_TRAIN_TIMESTEPS)
    return torch.cumprod(1 - betas, dim=0)


class Scheduler(Protocol):
    """What diffusers' schedulers share, which their base class does not declare.

    Those that work with sigmas have sigmas, the others alphas_cumprod; not all have set_begin_index.
    """

    config: Any
    timesteps: Tensor
    init_noise_sigma: float | Tensor
    sigmas: Tensor
    alphas_cumprod: Tensor

    def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor: ...

    def step(self, *args: Any, **more: Any) -> Any: ...

    def set_begin_index(self, begin_index: int) -> None: ...


class Schedule:
    """One run of a scheduler: the timesteps to visit and how to step between them.

    timesteps: what the network is told at each step, descending, 0…999, fractional for euler.
    start: how many of the planned steps are skipped, because the run starts from given latents. prediction_type: what
    the network predicts: "epsilon", "v_prediction", or "sample", the clean latents themselves.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        timesteps: Tensor | None = None,
        steps: int | None = None,
        prediction_type: str | None = None,
    ) -> None:
        """timesteps and prediction_type: by default the scheduler's own. steps: take only this many, from the end."""
        own = scheduler.timesteps
        self.start = 0 if steps is None else max(0, len(own) - steps)
        self.timesteps = (own if timesteps is None else timesteps)[self.start :]
        self.init_noise_sigma = float(scheduler.init_noise_sigma)
        self.prediction_type = prediction_type or scheduler.config.prediction_type
        self._scheduler, self._own_timesteps = scheduler, own[self.start :]
        self._takes_generator = "generator" in inspect.signature(scheduler.step).parameters
        if hasattr(scheduler, "set_begin_index"):  # else it looks up its place by timestep, which may occur twice
            scheduler.set_begin_index(self.start)

    def __len__(self) -> int:
        return len(self.timesteps)

    def model_input(self, latents: Tensor, step: int) -> Tensor:
        """The latents scaled to what the network was trained on: sqrt(ᾱ) x0 + sqrt(1 − ᾱ) noise."""
        return self._scheduler.scale_model_input(latents, self._own_timesteps[step])

    def noised(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        """Clean latents noised to the level before `step`, in the scheduler's own scale: the input of `model_input`."""
        alpha = self._alpha(step)
        signal, noise_std = alpha**0.5, (1 - alpha) ** 0.5
        if self.init_noise_sigma != 1:  # euler and related samplers work with sigmas: x0 + sigma noise
            return latents + noise_std / signal * noise
        return signal * latents + noise_std * noise

    def step(self, prediction: Tensor, step: int, latents: Tensor, generators: list[torch.Generator]) -> Tensor:
        """The latents after `step`; stochastic schedulers draw from one generator per clip, on the CPU."""
        noise = {"generator": generators} if self._takes_generator else {}
        timestep = self._own_timesteps[step]
        if self.prediction_type == "sample":
            prediction = self._velocity(prediction, step, self.model_input(latents, step))
        return self._scheduler.step(prediction, timestep, latents, return_dict=False, **noise)[0]

    def x0(self, prediction: Tensor, step: int, model_input: Tensor) -> Tensor:
        """The clean latents that the prediction implies."""
        if self.prediction_type == "sample":
            return prediction
        alpha = self._alpha(step)
        signal, noise_std = alpha**0.5, (1 - alpha) ** 0.5
        if self.prediction_type == "v_prediction":
            return signal * model_input - noise_std * prediction
        return (model_input - noise_std * prediction) / signal

    def alphas(self) -> Tensor:
        """ᾱ of the latents before every step and after the last, rising: float64 [steps + 1]."""
        after = getattr(self._scheduler, "final_alpha_cumprod", 1.0)
        if hasattr(self._scheduler, "sigmas"):
            after = 1 / (1 + float(self._scheduler.sigmas[-1]) ** 2)
        return torch.tensor([*(self._alpha(step) for step in range(len(self))), float(after)], dtype=torch.float64)

    def renoised(self, latents: Tensor, noise: Tensor, step: int) -> Tensor:
        """The latents after `step` with as much noise as they had before it (RePaint, equation 1: β of the step)."""
        before, after = self.alphas()[step : step + 2].tolist()
        if self.init_noise_sigma != 1:
            return latents + (1 / before - 1 / after) ** 0.5 * noise
        return (before / after) ** 0.5 * latents + (1 - before / after) ** 0.5 * noise

    def _velocity(self, clean: Tensor, step: int, model_input: Tensor) -> Tensor:
        """The v-prediction equivalent to these clean latents; not every scheduler accepts the latents themselves."""
        alpha = self._alpha(step)
        return (alpha**0.5 * model_input - clean) / (1 - alpha) ** 0.5

    def _alpha(self, step: int) -> float:
        if hasattr(self._scheduler, "sigmas"):
            return 1 / (1 + float(self._scheduler.sigmas[self.start + step]) ** 2)
        return float(self._scheduler.alphas_cumprod[int(self._own_timesteps[step])])


def create_schedule(
    name: str,
    num_inference_steps: int,
    spacing: str = "default",
    prediction_type: str = "epsilon",
    strength: float = 1.0,
    **settings: Any,
) -> Schedule:
    """A fresh schedule; `settings` go to the diffusers scheduler.

    strength: below 1, more of the given latents is kept the smaller it is: of `num_inference_steps` ÷ strength planned
    steps, the last `num_inference_steps` are taken (ComfyUI's "denoise").
    prediction_type: "epsilon", "v_prediction" or "sample", the clean latents.

    ddpm and ddim with "linspace" spacing visit 999 … 0 evenly and step between the very timesteps visited, as
    interpolation/diffusion/respace.py does.

    Raises:
        UsageError: unknown name or prediction type, a spacing that this scheduler lacks, or steps or a strength out of
        range.
    """
    if prediction_type not in PREDICTION_TYPES:
        raise UsageError(f"Unknown prediction type '{prediction_type}'. Choose {', '.join(PREDICTION_TYPES)}.")
    if name not in SCHEDULERS:
        raise UsageError(f"Unknown scheduler '{name}'. Choose one of: {', '.join(SCHEDULERS)}.")
    spec = SCHEDULERS[name]
    spacing = spec.spacings[0] if spacing == "default" else spacing
    if spacing not in spec.spacings:
        raise UsageError(f"Scheduler '{name}' has no '{spacing}' spacing. Choose one of: {', '.join(spec.spacings)}.")
    laid_out = _laid_out(name, num_inference_steps, strength)
    taken = None if strength == 1 else num_inference_steps
    import diffusers  # takes seconds, which importing LaVie should not

    scheduler_class = getattr(diffusers, spec.class_name)
    of_scheduler = "v_prediction" if prediction_type == "sample" else prediction_type
    settings = {"prediction_type": of_scheduler, **spec.settings, **settings}
    if name in ("ddpm", "ddim") and spacing == "linspace":
        return _respaced(scheduler_class, laid_out, settings, taken, prediction_type)
    if spacing == "karras":
        settings["use_karras_sigmas"] = True
    elif name != "lcm":
        settings["timestep_spacing"] = spacing
    if name in ("ddpm", "ddim") and (spacing == "trailing" or laid_out == NUM_TRAIN_TIMESTEPS):  # no timestep 1000
        settings["steps_offset"] = 0
    scheduler = scheduler_class(num_train_timesteps=NUM_TRAIN_TIMESTEPS, **LINEAR_BETAS, **settings)
    scheduler.set_timesteps(laid_out)
    return Schedule(scheduler, steps=taken, prediction_type=prediction_type)


def _laid_out(name: str, num_inference_steps: int, strength: float) -> int:
    """How many steps are planned, including those that a strength below 1 skips."""
    limit = LCM_MAX_STEPS if name == "lcm" else NUM_TRAIN_TIMESTEPS
    if not 1 <= num_inference_steps <= limit:
        raise UsageError(f"Steps must be between 1 and {limit} for '{name}', not {num_inference_steps}.")
    if not 0 < strength <= 1:
        raise UsageError(f"The strength (denoise) must be above 0 and at most 1, not {strength}.")
    laid_out = int(num_inference_steps / strength)
    if laid_out > limit:
        raise UsageError(
            f"{num_inference_steps} steps at strength (denoise) {strength:g} are the end of {laid_out}, but '{name}' "
            f"has at most {limit}. Take fewer steps or more strength."
        )
    return laid_out


def _respaced(
    scheduler_class: type, num_inference_steps: int, settings: dict[str, Any], taken: int | None, prediction_type: str
) -> Schedule:
    """A process with only the visited timesteps, with betas that give the same ᾱ there."""
    visited = torch.linspace(0, NUM_TRAIN_TIMESTEPS - 1, num_inference_steps, dtype=torch.float64).round().long()
    kept = alphas_cumprod().double()[visited]
    betas = 1 - kept / torch.cat((torch.ones(1, dtype=torch.float64), kept[:-1]))
    settings = {**settings, "steps_offset": 0}
    if "set_alpha_to_one" in settings:
        settings["set_alpha_to_one"] = True
    scheduler = scheduler_class(num_train_timesteps=len(visited), trained_betas=betas.float().numpy(), **settings)
    scheduler.set_timesteps(num_inference_steps)
    return Schedule(scheduler, visited.flip(0), taken, prediction_type)
