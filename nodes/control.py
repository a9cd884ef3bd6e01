"""ControlNets and T2I-Adapters of the host over the frames of a video, in core samplers and in LaVie's own.

A control object of the host is made for images. `OverFrames` shows it a video as a batch of images, each with its own
image of the hint, and tells it which timestep is as noisy for Stable Diffusion. `WiredControl` is what LaVie's loop
asks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..lavie.models.residuals import Residuals, summed
from ..lavie.sampling.control import Seen, fitted_frames, noise_levels, stable_diffusion_timesteps

MARKS = {"positive": 0, "negative": 1}  # with which the host marks the halves of the guidance
TEXTS = ("c_crossattn", "crossattn_controlnet")  # in a conditioning: the embeddings, and those for the ControlNet alone


class Sampling:
    """The host's `model_sampling` for a control object: noisy images are scaled as for LaVie's network; the timestep is
    Stable Diffusion's of as much noise, if `matched`."""

    def __init__(self, own: Any, matched: bool) -> None:
        self._own, self._matched = own, matched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def timestep(self, sigma: Tensor) -> Tensor:
        return stable_diffusion_timesteps(sigma) if self._matched else self._own.timestep(sigma)


@dataclass(frozen=True)
class Asked:
    """One evaluation of a control over frames.

    x: [halves · clips, 4, frames, h, w], as noisy as the σ in levels [halves · clips, frames] say. cond, halves,
    options: see `OverFrames.get_control`. frames: of the video, int64 [frames]. of: how many frames the video has,
    where hints are stretched over it.
    """

    x: Tensor
    levels: Tensor
    cond: dict[str, Any]
    halves: int
    options: dict[str, Any]
    frames: Tensor
    of: int | None = None

    def texts(self) -> dict[str, Any]:
        """The conditioning with a text for every image."""
        length = self.x.shape[2]
        return {
            name: _per_image(value, length) if name in TEXTS and value is not None else value
            for name, value in self.cond.items()
        }

    def images_of(self, hint: Tensor) -> Tensor:
        """Which images of a hint the frames see, int64 [frames]."""
        if len(hint) == 1:
            return torch.zeros(len(self.frames), dtype=torch.int64)
        return self.frames if self.of is None else fitted_frames(len(hint), self.of, True)[self.frames]


class OverFrames:
    """A control object of the host, with those before it in its chain, for videos; all else is the object's own."""

    def __init__(self, control: Any, matched: bool = True) -> None:
        self._control, self._matched = control, matched
        self._shown: dict[int, tuple] = {}  # by control, for what its hint was last prepared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._control, name)

    @property
    def chain(self) -> list[Any]:
        """The control objects, the one that was applied last first."""
        return chain_of(self._control)

    def pre_run(self, model: Any, percent_to_timestep: Any) -> None:
        """The host calls this before the first step."""
        self._control.pre_run(model, percent_to_timestep)
        for control in self.chain:
            if getattr(control, "model_sampling_current", None) is not None:
                control.model_sampling_current = Sampling(control.model_sampling_current, self._matched)

    def over(self, num_frames: int, stretch: bool = False) -> OverFrames:
        """See `lavie.sampling.control.ActiveControl.over`; refuses only."""
        for control in self.chain:
            fitted_frames(len(control.cond_hint_original), num_frames, stretch)
        return self

    def get_control(self, x: Tensor, sigmas: Tensor, cond: dict, halves: int, options: dict) -> Residuals:
        """What the host asks at every step.

        Args:
            x: [halves · clips, 4, frames, h, w], as noisy as `sigmas` [halves · clips] say. cond: the conditioning,
                with texts [halves · clips, tokens, channels] or one for each frame. options: transformer_options.
        """
        window = getattr(options.get("context_window"), "index_list", None)
        frames = torch.arange(x.shape[2]) if window is None else torch.as_tensor(window)
        levels = sigmas[:, None].expand(len(sigmas), x.shape[2])
        return self.asked(Asked(x, levels, cond, halves, options, frames))

    def asked(self, ask: Asked) -> Residuals:
        """What all controls of the chain add."""
        return summed(part for control in self.chain for part in self._of_one(control, ask))

    def _of_one(self, control: Any, ask: Asked) -> Iterator[Residuals]:
        images, levels = ask.x.transpose(1, 2).flatten(0, 1), ask.levels.flatten()
        places = ask.images_of(control.cond_hint_original)
        for where in _alike(control, ask.levels):
            if where is None:
                texts, halves = ask.texts(), ask.halves
                with self._showing(control, places, (images.shape, halves)):
                    found = control.get_control(images, levels, texts, halves, ask.options)
            else:
                texts = {name: text[where] if name in TEXTS else text for name, text in ask.texts().items()}
                of_each = places.repeat(len(ask.x))[where]
                with self._showing(control, of_each, (len(where), *images.shape)):
                    found = control.get_control(images[where], levels[where], texts, 1, ask.options)
            if found is not None:
                yield _scattered(residuals_of(found), where, len(images))

    @contextlib.contextmanager
    def _showing(self, control: Any, frames: Tensor, size: tuple) -> Iterator[None]:
        """Within this context the control is alone, and its hint is that of these frames."""
        hint, before = control.cond_hint_original, control.previous_controlnet
        key = (tuple(frames.tolist()), *size)
        if self._shown.get(id(control)) != key:
            self._shown[id(control)] = key
            control.cond_hint = None
            if hasattr(control, "control_input"):
                control.control_input = None
        control.previous_controlnet = None
        control.cond_hint_original = hint if len(hint) == 1 else hint[frames]
        try:
            yield
        finally:
            control.cond_hint_original, control.previous_controlnet = hint, before


@dataclass(frozen=True)
class WiredControl:
    """The controls of the CONDITIONINGs of one of LaVie's samplers; see `lavie.sampling.control.ActiveControl`.

    halves: by "positive" and "negative". frames: of the video, which this is for; None: not yet said, all. of: how many
    the video has.
    """

    halves: dict[str, OverFrames]
    frames: Tensor | None = None
    of: int | None = None

    def over(self, num_frames: int, stretch: bool = False) -> WiredControl:
        if self.frames is not None:
            return self
        for control in self.halves.values():
            control.over(num_frames, stretch)
        return replace(self, frames=torch.arange(num_frames), of=num_frames)

    def at(self, frames: slice | Tensor) -> WiredControl:
        return self if self.frames is None else replace(self, frames=self.frames[frames])

    def residuals(self, seen: Seen) -> Residuals | None:
        clips, length = len(seen.latents) // len(seen.halves), seen.latents.shape[2]
        sigmas = noise_levels(seen.timesteps).to(seen.latents.device)
        noisy = seen.latents * (1 + sigmas[:, None, None] ** 2).sqrt()
        frames = torch.arange(length) if self.frames is None else self.frames
        parts = []
        for control, places in self._groups(seen.halves):
            here = slice(places[0] * clips, (places[-1] + 1) * clips)
            x, text = noisy[here], seen.text[here]
            levels = sigmas.expand(len(x), length)
            options = {"cond_or_uncond": [MARKS[seen.halves[place]] for place in places], "sigmas": sigmas[:1]}
            ask = Asked(x, levels, {"c_crossattn": text}, len(places), options, frames, self.of)
            made = control.asked(ask)
            around = (here.start * length, (len(seen.latents) - here.stop) * length)
            parts.append(made.map(lambda part, around=around: pad(part, (0, 0, 0, 0, 0, 0, *around))))
        return summed(parts)

    def _groups(self, halves: Sequence[str]) -> list[tuple[OverFrames, list[int]]]:
        """The controls that these halves have, and at which places: both at once where they share it."""
        found: dict[int, tuple[OverFrames, list[int]]] = {}
        for place, half in enumerate(halves):
            if half in self.halves:
                control = self.halves[half]
                found.setdefault(id(control), (control, []))[1].append(place)
        return list(found.values())


def chain_of(control: Any) -> list[Any]:
    """The control objects of a chain, the one that was applied last first."""
    found = []
    while control is not None:
        found.append(control)
        control = control.previous_controlnet
    return found


def residuals_of(control: Any) -> Residuals:
    """From the host's form: lists that are read from their ends."""
    if isinstance(control, Residuals):
        return control
    middle = [part for part in control.get("middle", ()) if part is not None]
    return Residuals(
        tuple(control.get("output", ())), middle[-1] if middle else None, tuple(reversed(control.get("input", ())))
    )


def _per_image(text: Tensor, frames: int) -> Tensor:
    return text.flatten(0, 1) if text.ndim == 4 else text.repeat_interleave(frames, dim=0)


def _alike(control: Any, levels: Tensor) -> list[Tensor | None]:
    """Groups of images that a call may hold together, by their numbers; None: all of them.

    The host asks only the first image whether the control acts at its noise level.
    """
    if bool((levels == levels[:, :1]).all()) or control.timestep_range is None:
        return [None]
    first, last = control.timestep_range
    acting = ((levels <= first) & (levels >= last)).flatten().nonzero().flatten()
    return [acting] if len(acting) else []


def _scattered(part: Residuals, where: Tensor | None, images: int) -> Residuals:
    """What is for some images, among all of them."""
    if where is None:
        return part
    return part.map(lambda x: x.new_zeros(images, *x.shape[1:]).index_copy(0, where.to(x.device), x))


def wired_controls(positive: dict[str, Any], negative: dict[str, Any], matched: bool) -> tuple[WiredControl, ...]:
    """The controls of two conditionings' options.

    As in the host, one that was applied with Apply ControlNet's plain form acts on the negative half, too, if that has
    none of its own.
    """
    wired = {"positive": positive.get("control"), "negative": negative.get("control")}
    if wired["negative"] is None and positive.get("control_apply_to_uncond"):
        wired["negative"] = wired["positive"]
    made = {id(control): OverFrames(control, matched) for control in wired.values() if control is not None}
    halves = {half: made[id(control)] for half, control in wired.items() if control is not None}
    return (WiredControl(halves),) if halves else ()


@contextlib.contextmanager
def running(model: Any, controls: Sequence[Any]) -> Iterator[None]:
    """A context in which these controls can be asked, as the host makes one around a core sampler."""
    each = _each(controls)
    try:
        for control in each:
            control.pre_run(model.model, model.model.model_sampling.percent_to_sigma)
        yield
    finally:
        for control in each:
            control.cleanup()


def networks(controls: Sequence[Any]) -> list[Any]:
    """The ModelPatchers of these controls, each once."""
    return list({id(patcher): patcher for control in _each(controls) for patcher in control.get_models()}.values())


def _each(controls: Sequence[Any]) -> list[OverFrames]:
    return list({id(half): half for control in controls for half in control.halves.values()}.values())
