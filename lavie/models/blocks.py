"""The building blocks of the video UNets.

Feature maps are `[batch · frames, channels, height, width]` in channels-last memory, so every change of
view (frames into the normalisation, pixels into tokens, time into a convolution axis) is free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, silu

from .attention import (
    FeedForward,
    SparseCausalAttention,
    SpatialAttention,
    TemporalAttention,
    TemporalStrategy,
    TextAttention,
)
from .config import UNetConfig
from .positions import FramePositions
from .slices import by_frames, slices_of


@dataclass(frozen=True)
class Conditioning:
    """What all blocks see: emb [batch, channels] (time and class), or [batch, frames, channels] where every frame has a
    noise level of its own; text [batch, tokens, channels], or [batch, frames, tokens, channels].

    over_time: False leaves out every layer that looks along the frames, as for images in joint training.
    strategy: what is done in place of one temporal attention among all frames.
    slice_elements: most numbers of a feature map that one operation works on at once, where no gradients are needed.
    """

    emb: Tensor
    text: Tensor
    positions: FramePositions
    frames: int
    over_time: bool = True
    strategy: TemporalStrategy | None = None
    slice_elements: int | None = None


class FrameNorm(nn.GroupNorm):
    """Group norm over `frames` frames together, as the official layers normalise 5-D tensors."""

    def own_values(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias, to compute with `like`. Hosts that keep them elsewhere, or patch them on the way, replace
        this method."""
        return self.weight, self.bias

    def forward(self, x: Tensor, frames: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] (the keys)
        height = x.shape[2]
        pixels = x.permute(0, 2, 3, 1).unflatten(0, (-1, frames)).flatten(1, 2)
        if x.device.type == "cpu":
            pixels = pixels - self._group_offset(pixels)
            if torch.is_grad_enabled() and self.weight.requires_grad:
                pixels.requires_grad_()  # or the kernel's backward crashes where only the weight learns (torch ≤ 2.13)
        normed = super().forward(pixels.permute(0, 3, 1, 2))
        return normed.permute(0, 2, 3, 1).unflatten(1, (frames, height)).flatten(0, 1).permute(0, 3, 1, 2)

    def _group_offset(self, pixels: Tensor) -> Tensor:
        """A rough mean per group, [batch, 1, 1, channels].

        Group norm is invariant to it, but torch's channels-last CPU kernel computes E[x²] − E[x]², which
        loses three digits where the mean is far above the deviation.
        """
        sample = pixels.detach()[:, ::8, ::4].mean(dim=(1, 2)).unflatten(-1, (self.num_groups, -1))
        return sample.mean(-1, keepdim=True).expand_as(sample).flatten(1)[:, None, None]

    def moments(self, x: Tensor, frames: int, elements: int) -> tuple[Tensor, Tensor]:
        """What `normalised` needs of all of x, from a few frames at a time: the mean, and weight ÷ deviation.

        Both float32 [batch · frames, channels, 1, 1].
        """
        means, squares = [], []
        for part in slices_of(x, 0, elements):
            pixels = x[part].float()
            mean = pixels.mean((2, 3), keepdim=True)
            means.append(mean)
            squares.append((pixels - mean).square_().mean((2, 3), keepdim=True))
        # [batch, frames, groups, channels of a group, 1, 1]
        mean, square = (
            torch.cat(each).unflatten(0, (-1, frames)).unflatten(2, (self.num_groups, -1)) for each in (means, squares)
        )
        of_group = mean.mean((1, 3), keepdim=True)
        variance = (square + (mean - of_group) ** 2).mean((1, 3), keepdim=True)
        weight = self.own_values(mean)[0].to(mean).unflatten(0, (self.num_groups, -1))[..., None, None]
        scale = weight * (variance + self.eps).rsqrt()
        mean, scale = (each.expand_as(mean).flatten(0, 1).flatten(1, 2) for each in (of_group, scale))
        return mean, scale

    def normalised(self, x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """A part of the feature map, by the `moments` of its frames."""
        return ((x - mean).mul_(scale).add_(self.own_values(mean)[1].to(mean)[:, None, None])).to(x.dtype)


class TemporalConv(nn.Conv3d):
    """A zero-padded (k, 1, 1) convolution over frames, computed in 2-D over [frames, pixels]."""

    def __init__(self, channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(channels, out_channels, (kernel_size, 1, 1), padding=(kernel_size // 2, 0, 0))

    def own_values(self, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `FrameNorm.own_values`."""
        return self.weight, self.bias

    def forward(self, x: Tensor, frames: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] (the keys)
        height, width = x.shape[2:]
        clip = x.permute(0, 2, 3, 1).unflatten(0, (-1, frames)).flatten(2, 3).permute(0, 3, 1, 2)
        weight, bias = self.own_values(x)
        out = conv2d(clip, weight.squeeze(-1), bias, padding=(self.kernel_size[0] // 2, 0))
        return out.permute(0, 2, 3, 1).flatten(0, 1).unflatten(1, (height, width)).permute(0, 3, 1, 2)


class FrameConv(nn.Conv2d):
    """A 2-D convolution on every frame by itself; how many frames a clip has makes no difference."""

    def forward(self, x: Tensor, frames: int = 1) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] (the keys)
        return super().forward(x)


class ResnetBlock(nn.Module):
    """Norm, SiLU, convolution, twice, with the time embedding in between (`emb_channels` 0: none).

    kernel_sizes (3, 3) with `temporal=False` is the spatial block; the temporal ones convolve over frames.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        groups: int,
        eps: float,
        temporal: bool = False,
        kernel_sizes: tuple[int, int] = (3, 3),
    ) -> None:
        super().__init__()
        self.temporal = temporal
        first, second = kernel_sizes
        conv = TemporalConv if temporal else lambda i, o, k: FrameConv(i, o, k, padding=k // 2)
        self.norm1 = FrameNorm(groups, in_channels, eps)
        self.conv1 = conv(in_channels, out_channels, first)
        self.time_emb_proj = nn.Linear(emb_channels, out_channels) if emb_channels else None
        self.norm2 = FrameNorm(groups, out_channels, eps)
        self.conv2 = conv(out_channels, out_channels, second)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor, cond: Conditioning) -> Tensor:
        if cond.slice_elements is not None:
            return self._in_slices(x, cond, cond.slice_elements)
        h = self.conv1(silu(self.norm1(x, cond.frames)), cond.frames)
        if self.time_emb_proj is not None:
            emb = self.time_emb_proj(silu(cond.emb))
            per_frame = emb if emb.ndim == 3 else emb[:, None]
            h = (h.unflatten(0, (-1, cond.frames)) + per_frame[..., None, None]).flatten(0, 1)
        h = self.conv2(silu(self.norm2(h, cond.frames)), cond.frames)
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))

    def _in_slices(self, x: Tensor, cond: Conditioning, elements: int) -> Tensor:
        """`forward` over frames, or over rows where the convolutions look along the frames."""
        emb = None if self.time_emb_proj is None else self.time_emb_proj(silu(cond.emb))
        if emb is not None:
            per_frame = emb if emb.ndim == 3 else emb[:, None]
            emb = per_frame.expand(len(x) // cond.frames, cond.frames, -1).flatten(0, 1)[..., None, None]
        h = torch.empty(len(x), self.conv1.out_channels, *x.shape[2:], dtype=x.dtype, device=x.device)
        h = h.contiguous(memory_format=torch.channels_last)

        moments = self.norm1.moments(x, cond.frames, elements)
        for place, frames in self._places(x, elements):
            part = silu(self.norm1.normalised(x[place], *(each[frames] for each in moments)), inplace=True)
            part = self.conv1(part, cond.frames)
            h[place] = part if emb is None else part.add_(emb[frames])

        moments = self.norm2.moments(h, cond.frames, elements)
        for place, frames in self._places(h, elements):
            part = silu(self.norm2.normalised(h[place], *(each[frames] for each in moments)), inplace=True)
            part = self.conv2(part, cond.frames)
            h[place] = part.add_(x[place] if self.conv_shortcut is None else self.conv_shortcut(x[place]))
        return h

    def _places(self, x: Tensor, elements: int) -> list[tuple[tuple[slice, ...], slice]]:
        """Where each part of a feature map lies, and which of the frames it has."""
        everything = slice(None)
        if self.temporal:
            return [((everything, everything, part), everything) for part in slices_of(x, 2, elements)]
        return [((part,), part) for part in slices_of(x, 0, elements)]


class TransformerBlock(nn.Module):
    """Spatial, text and temporal attention and the feed-forward, each a residual of a layer norm.

    In slices the residuals are added to x itself.
    """

    def __init__(self, channels: int, config: UNetConfig, only_cross_attention: bool) -> None:
        super().__init__()
        heads, text_channels = config.attention_head_dim, config.cross_attention_dim
        self.temporal_last = config.temporal_attention_last
        if only_cross_attention:
            self.attn1: nn.Module = TextAttention(channels, heads, text_channels)
        elif config.sparse_causal_attention:
            self.attn1 = SparseCausalAttention(channels, heads)
        else:
            self.attn1 = SpatialAttention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.attn2 = TextAttention(channels, heads, text_channels)
        self.norm2 = nn.LayerNorm(channels)
        # The upscaler's checkpoint spells the same layer "temporal".
        self.temporal_name = "temporal" if config.temporal_convolutions else "temp"
        attention = TemporalAttention(channels, heads, config.temporal_positions)
        self.add_module(f"attn_{self.temporal_name}", attention)
        self.add_module(f"norm_{self.temporal_name}", nn.LayerNorm(channels))
        self.ff = FeedForward(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, cond: Conditioning) -> Tensor:
        x = self._add_of_space(x, cond)
        x = self._add(self._of_text, x, cond)
        last = (self._of_feed_forward, self._of_time) if self.temporal_last else (self._of_time, self._of_feed_forward)
        for residual in last if cond.over_time else (self._of_feed_forward,):
            x = self._add(residual, x, cond)
        return x

    @staticmethod
    def _add(residual: Callable[[Tensor, Conditioning], Tensor], x: Tensor, cond: Conditioning) -> Tensor:
        """x and a residual that treats every pixel by itself."""
        if cond.slice_elements is None:
            return x + residual(x, cond)
        for part in slices_of(x, 2, cond.slice_elements):
            x[:, :, part] += residual(x[:, :, part], cond)
        return x

    def _add_of_space(self, x: Tensor, cond: Conditioning) -> Tensor:
        if isinstance(self.attn1, TextAttention):
            return self._add(lambda part, cond: self.attn1(self.norm1(part), cond.text), x, cond)
        if cond.slice_elements is None:
            return x + self.attn1(self.norm1(x))
        looks_back = isinstance(self.attn1, SparseCausalAttention)
        clip = x if looks_back else x.flatten(0, 1)[None]
        for part in reversed(slices_of(clip, 1, cond.slice_elements)):  # the frames it looks back to must be unchanged
            before = {"before": self.norm1(clip[:, [0, part.start - 1]])} if looks_back and part.start else {}
            clip[:, part] += self.attn1(self.norm1(clip[:, part]), **before)
        return x

    def _of_text(self, x: Tensor, cond: Conditioning) -> Tensor:
        return self.attn2(self.norm2(x), cond.text)

    def _of_feed_forward(self, x: Tensor, cond: Conditioning) -> Tensor:
        return self.ff(self.norm3(x))

    def _of_time(self, x: Tensor, cond: Conditioning) -> Tensor:
        attention = getattr(self, f"attn_{self.temporal_name}")
        norm = getattr(self, f"norm_{self.temporal_name}")
        if cond.strategy is not None:
            return cond.strategy(attention.among, norm(x))
        return attention(norm(x), cond.positions)


class Transformer(nn.Module):
    """A transformer block between two projections, with a residual; the norm sees one frame at a time."""

    def __init__(self, channels: int, config: UNetConfig, only_cross_attention: bool = False) -> None:
        super().__init__()
        project = nn.Linear if config.use_linear_projection else lambda i, o: nn.Conv2d(i, o, 1)
        if config.temporal_convolutions:
            self.resblock_temporal = ResnetBlock(channels, channels, 0, 32, 1e-6, temporal=True)
        else:
            self.resblock_temporal = None
        self.norm = FrameNorm(config.norm_num_groups, channels, eps=1e-6)
        self.proj_in = project(channels, channels)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(channels, config, only_cross_attention)])
        self.proj_out = project(channels, channels)

    def forward(self, x: Tensor, cond: Conditioning) -> Tensor:
        if self.resblock_temporal is not None and cond.over_time:
            x = self.resblock_temporal(x, cond)
        elements = cond.slice_elements
        h = by_frames(lambda part: self._project(self.proj_in, self.norm(part, frames=1)), x, elements)
        tokens = h.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, cond.frames))
        for block in self.transformer_blocks:
            tokens = block(tokens, cond)
        h = tokens.flatten(0, 1).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        if elements is None:
            return self._project(self.proj_out, h) + x
        for part in slices_of(h, 0, elements):
            h[part] = self._project(self.proj_out, h[part]).add_(x[part])
        return h

    @staticmethod
    def _project(layer: nn.Module, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Linear):
            return layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return layer(x)


class TemporalModule(nn.Module):
    """The upscaler's residual after every block: a temporal resnet, a spatial one and a 1×1 convolution.

    Source: vsr/models/temporal_module.py, TemporalModule3D, with its hard-coded 32 groups and eps 1e-6.
    """

    def __init__(self, channels: int, emb_channels: int) -> None:
        super().__init__()
        self.resblocks_3d_t = ResnetBlock(
            channels, channels, emb_channels, 32, 1e-6, temporal=True, kernel_sizes=(5, 3)
        )
        self.resblocks_3d_s = ResnetBlock(channels, channels, emb_channels, 32, 1e-6)
        self.shift_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, cond: Conditioning) -> Tensor:
        h = self.resblocks_3d_s(self.resblocks_3d_t(x, cond), cond)
        if cond.slice_elements is None:
            return x + self.shift_conv(h)
        for part in slices_of(h, 0, cond.slice_elements):
            h[part] = self.shift_conv(h[part]).add_(x[part])
        return h


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, slice_elements: int | None = None) -> Tensor:
        return by_frames(self.conv, x, slice_elements)


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: torch.Size, slice_elements: int | None = None) -> Tensor:
        """`size` is that of the skip tensor to come, so that odd sizes come back as they went."""
        return by_frames(lambda part: self.conv(interpolate(part, size=size, mode="nearest")), x, slice_elements)
