"""Attention and feed-forward of the video transformer blocks.

Tokens are `[batch, frames, pixels, channels]` everywhere: a view of channels-last feature maps, so that
spatial attention folds frames into the batch, text attention reads all frames as one sequence, and
temporal attention folds pixels into the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from .positions import FramePositions, RelativePositionBias, RotaryEmbedding


class Attend(Protocol):
    """Temporal attention among frames [batch, frames, pixels, channels], counted from 0, to the same shape.

    bias: [frames, frames] (query, key), added to the scores.
    """

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor: ...


# What is done in place of one attention among all frames of x: windows, filters, a bias.
TemporalStrategy = Callable[[Attend, Tensor], Tensor]


class Attention(nn.Module):
    """Multi-head attention with the official layer names: q, k, v without bias, output with."""

    def __init__(self, channels: int, heads: int, context_channels: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_channels or channels, channels, bias=False)
        self.to_v = nn.Linear(context_channels or channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def split_heads(self, x: Tensor) -> Tensor:
        """[..., tokens, channels] → [..., heads, tokens, channels / heads], a view."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def merge(self, x: Tensor) -> Tensor:
        """[..., heads, tokens, head_dim] → [..., tokens, channels], projected."""
        return self.to_out[0](x.transpose(-3, -2).flatten(-2))


class SpatialAttention(Attention):
    """Every pixel attends to the pixels of its own frame."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.split_heads(to(x).flatten(0, 1)) for to in (self.to_q, self.to_k, self.to_v))
        return self.merge(scaled_dot_product_attention(q, k, v)).view_as(x)


class SparseCausalAttention(Attention):
    """Every pixel attends to the first and the previous frame, never to its own.

    Source: interpolation/models/attention.py, SparseCausalAttention (frame 0 sees itself twice).
    """

    def forward(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """before [batch, 2, pixels, channels]: the clip's first frame and the one before x, where x begins later."""

        def seen(to: nn.Linear) -> Tensor:
            return self.first_and_previous(to(x), None if before is None else to(before)).flatten(0, 1)

        q = self.split_heads(self.to_q(x).flatten(0, 1))
        k, v = self.split_heads(seen(self.to_k)), self.split_heads(seen(self.to_v))
        return self.merge(scaled_dot_product_attention(q, k, v)).view_as(x)

    @staticmethod
    def first_and_previous(x: Tensor, before: Tensor | None) -> Tensor:
        first, last = (x[:, :1], x[:, :1]) if before is None else (before[:, :1], before[:, 1:])
        previous = torch.cat((last, x[:, :-1]), dim=1)
        return torch.cat((first.expand_as(x), previous), dim=2)


class TextAttention(Attention):
    """Every pixel of every frame attends to the text, whose keys and values are computed once per prompt.

    text: [batch, tokens, channels], or [batch, frames, tokens, channels] where every frame has one of its own.
    """

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        per_frame = text.ndim == 4
        q = self.split_heads(self.to_q(x).flatten(0, 1) if per_frame else self.to_q(x).flatten(1, 2))
        text = text.flatten(0, 1) if per_frame else text
        k, v = self.split_heads(self.to_k(text)), self.split_heads(self.to_v(text))
        return self.merge(scaled_dot_product_attention(q, k, v)).view_as(x)


class TemporalAttention(Attention):
    """Every pixel attends to the same place in all frames.

    With `positions`, rotary angles AND a relative bias tell the frames apart, as in
    base/models/attention.py, TemporalAttention; without (interpolation) the attention is order-blind.
    """

    def __init__(self, channels: int, heads: int, positions: bool) -> None:
        super().__init__(channels, heads)
        self.positions = positions
        if positions:
            self.time_rel_pos_bias = RelativePositionBias(heads)
            self.rotary_emb = RotaryEmbedding()

    def forward(self, x: Tensor, positions: FramePositions, bias: Tensor | None = None) -> Tensor:
        q, k, v = (to(x).unflatten(-1, (self.heads, -1)) for to in (self.to_q, self.to_k, self.to_v))
        bias = None if bias is None else bias.to(q)
        if self.positions:
            q, k = positions.rotate(q), positions.rotate(k)
            learned = self.time_rel_pos_bias(positions).to(q.dtype)
            bias = learned if bias is None else learned + bias
        # [batch, frames, pixels, heads, head_dim] → [batch · pixels, heads, frames, head_dim]
        q, k, v = (t.permute(0, 2, 3, 1, 4).flatten(0, 1) for t in (q, k, v))
        out = scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.to_out[0](out.unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2, 4).flatten(-2))

    def among(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """`Attend`."""
        return self(x, FramePositions.of(x.shape[1], x.device), bias)


class GEGLU(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, inner * 2)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * gelu(gate)


class FeedForward(nn.Module):
    """GEGLU with four times the width; `net.1` is the official dropout (0)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GEGLU(channels, channels * 4), nn.Identity(), nn.Linear(channels * 4, channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))
