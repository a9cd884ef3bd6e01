"""LaVie's networks as ComfyUI calls them: pure torch, no ComfyUI needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..lavie.config import StageConfig
from ..lavie.errors import UsageError
from ..lavie.models import VideoUNet
from ..lavie.models.attention import TemporalStrategy
from ..lavie.models.deep_feature import DeepFeature
from ..lavie.models.residuals import Residuals
from ..lavie.models.text_encoder import TextEncoder
from ..lavie.sampling.control import noise_levels
from .control import residuals_of
from .patches import patched

OWN = "lavie"  # the key of what we put on a MODEL ourselves
PER_FRAME = "lavie_frames"  # in a CONDITIONING: a text for every frame, [1, frames, tokens, channels]
STEP_LORAS = "lavie_loras"  # in transformer_options: objects whose on(unet, timestep) is a context manager


@dataclass(frozen=True)
class StageInfo:
    """What travels with LaVie's MODEL, CLIP and VAE: the family, the stage and its settings."""

    model: str
    stage: str
    config: StageConfig
    scaling_factor: float


class GraphUNet(VideoUNet):
    """A `VideoUNet` that answers ComfyUI's call (x, timesteps, context=…) as well as LaVie's own.

    around: from a call, this network and the `transformer_options`, the call with the host's wrappers around it.
    """

    around: Callable[[Callable, GraphUNet, dict[str, Any]], Callable] | None = None

    @classmethod
    def adopt(cls, unet: VideoUNet) -> GraphUNet:
        """The same network, weights and parameter names, under this class."""
        unet.__class__ = cls
        return unet  # type: ignore[return-value]

    @property
    def in_channels(self) -> int:
        """The name under which nodes that change the guidance look for it."""
        return self.config.in_channels

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor | float,
        context: Tensor | None = None,
        y: Tensor | None = None,
        control: Any = None,
        transformer_options: dict[str, Any] | None = None,
        **inputs: Any,
    ) -> Tensor:
        """As `VideoUNet.forward`; `y` is the noise level, `control` what the host's controls or LaVie's add."""
        options = dict(transformer_options or {})
        assert context is not None, "a UNet that reads text is always given some"
        self._check(x, context)
        control = None if control is None else residuals_of(control)
        if options:  # patches for images ask for these
            options["original_shape"] = [x.shape[0] * x.shape[2], x.shape[1], *x.shape[3:]]
            options.setdefault("sigmas", noise_levels(timesteps).flatten())
        call = self._patched if self.around is None else self.around(self._patched, self, options)
        return call(x, timesteps, context, y, control, options, **inputs)

    def _patched(
        self,
        x: Tensor,
        timesteps: Tensor | float,
        context: Tensor,
        y: Tensor | None,
        control: Residuals | None,
        transformer_options: dict[str, Any],
        class_labels: Tensor | None = None,
        strategy: TemporalStrategy | None = None,
        down_hidden_states: Tensor | None = None,
        deep: DeepFeature | None = None,
        **_: Any,
    ) -> Tensor:
        with contextlib.ExitStack() as stack:
            stack.enter_context(patched(self, transformer_options))
            for lora in transformer_options.get(STEP_LORAS, ()):
                stack.enter_context(lora.on(self, float(torch.as_tensor(timesteps).max())))
            return super().forward(
                x,
                timesteps,
                context,
                y if class_labels is None else class_labels,
                strategy=strategy,
                down_hidden_states=down_hidden_states,
                deep=deep,
                control=control,
            )

    def _check(self, x: Tensor, context: Tensor) -> None:
        if x.dim() != 5:
            raise UsageError(
                f"LaVie samples video latents [batch, channels, frames, height, width], not {x.dim()}-D ones. "
                "Take them from LaVie Empty Latent Video or LaVie VAE Encode."
            )
        if x.shape[1] != self.config.in_channels:
            raise UsageError(
                f"This MODEL takes {self.config.in_channels} input channels, not {x.shape[1]}: it is no base stage. "
                "Use LaVie Frame Interpolation or LaVie Video Upscaler instead of a core sampler."
            )
        check_width(context, self.config.cross_attention_dim)
        if context.ndim == 4 and context.shape[1] != x.shape[2]:
            raise UsageError(
                f"The prompts are for {context.shape[1]} frames, the video has {x.shape[2]}: give LaVie Prompt "
                "Schedule and the latent the same length, without context windows."
            )


def check_width(states: Tensor | None, width: int) -> None:
    """Refuse embeddings of another text encoder."""
    if states is None or states.shape[-1] == width:
        return
    raise UsageError(
        f"The conditioning is {states.shape[-1]} channels wide, this MODEL needs {width}. Wire the CLIP of the same "
        "LaVie Loader (or another of its kind: Stable Diffusion 1.x has 768, the upscaler's OpenCLIP 1024)."
    )


class GraphText(nn.Module):
    """A `TextEncoder` as ComfyUI's `cond_stage_model`; parameter names are those that LoRA loaders look for."""

    def __init__(self, encoder: TextEncoder, info: StageInfo) -> None:
        super().__init__()
        self.encoder = encoder
        self.lavie = info
        self.dtypes = {encoder.model.dtype}
        self.layer = -1
        holder, transformer = nn.Module(), nn.Module()
        transformer.text_model = getattr(encoder.model, "text_model", encoder.model)
        holder.transformer = transformer
        self.add_module("clip_h" if encoder.model.config.hidden_size == 1024 else "clip_l", holder)

    def reset_clip_options(self) -> None:
        self.layer = -1

    def set_clip_options(self, options: dict[str, Any]) -> None:
        self.layer = options.get("layer") or self.layer

    def encode_token_weights(self, tokens: dict[str, list]) -> tuple[Tensor, None]:
        """Embeddings [1, 77 × chunks, width] of `GraphTokenizer`'s tokens, on the CPU; there is no pooled output."""
        chunks = next(iter(tokens.values()))
        numbers = torch.tensor([[int(token[0]) for token in chunk] for chunk in chunks])[None]
        weights = torch.tensor([[float(token[1]) for token in chunk] for chunk in chunks])[None]
        with torch.no_grad():
            return self.encoder.embed(numbers, weights, layer=self.layer).float().cpu(), None


class GraphTokenizer:
    """LaVie's prompt syntax and chunks in ComfyUI's form: {"l": [[(token, weight), …], …]}."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **_: Any) -> dict[str, list]:
        numbers, weights = self.encoder.tokenize([text])
        extra = (0,) if return_word_ids else ()
        pairs = zip(numbers[0].tolist(), weights[0].tolist(), strict=True)
        return {"l": [[(n, w, *extra) for n, w in zip(*chunk, strict=True)] for chunk in pairs]}

    def state_dict(self) -> dict[str, Any]:
        return {}
