"""Where a frame stands in time: rotary angles and T5 relative-position buckets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

ROTARY_DIM = 32
NUM_BUCKETS = 32
MAX_DISTANCE = 32  # not T5's 128: base/models/attention.py, RelativePositionBias


def rotary_frequencies() -> Tensor:
    """The 16 rotary frequencies 10000^(-2i/32), float32."""
    return 1.0 / 10000 ** (torch.arange(0, ROTARY_DIM, 2, dtype=torch.float32) / ROTARY_DIM)


def relative_position_buckets(num_frames: int) -> Tensor:
    """T5's bidirectional buckets of (query − key): int64 [num_frames, num_frames], 0 ≤ bucket < 32."""
    position = torch.arange(num_frames)
    distance = position[:, None] - position[None, :]
    half, exact = NUM_BUCKETS // 2, NUM_BUCKETS // 4
    magnitude = distance.abs()
    log_ratio = torch.log(magnitude.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact)
    far = (exact + (log_ratio * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(magnitude < exact, magnitude, far) + half * (distance < 0)


@dataclass(frozen=True)
class FramePositions:
    """Everything the temporal attention needs to know about `num_frames` frames; made once per forward.

    rotation: complex64 [num_frames, 16], a unit number per frame and frequency.
    buckets: int64 [num_frames, num_frames].
    """

    rotation: Tensor
    buckets: Tensor

    @staticmethod
    @lru_cache(maxsize=16)
    @torch.inference_mode(False)  # kept for training, too, whoever asks first
    def of(num_frames: int, device: torch.device) -> FramePositions:
        angles = torch.arange(num_frames, dtype=torch.float32)[:, None] * rotary_frequencies()
        rotation = torch.polar(torch.ones_like(angles), angles)
        return FramePositions(rotation.to(device), relative_position_buckets(num_frames).to(device))

    def rotate(self, x: Tensor) -> Tensor:
        """Rotate the pairs (2i, 2i+1), i < 16, of x [batch, num_frames, pixels, heads, channels]."""
        head, rest = x[..., :ROTARY_DIM], x[..., ROTARY_DIM:]
        pairs = torch.view_as_complex(head.float().unflatten(-1, (-1, 2)))
        rotated = torch.view_as_real(pairs * self.rotation[:, None, None]).flatten(-2).to(x.dtype)
        return torch.cat((rotated, rest), dim=-1) if rest.shape[-1] else rotated


class RotaryEmbedding(nn.Module):
    """Holds the checkpoint's `freqs`; the angles come from `FramePositions`, which stays float32 where
    `freqs` is cast to half precision (official fp16 runs lose up to 3e-2 of an angle there)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("freqs", rotary_frequencies())


class RelativePositionBias(nn.Module):
    """A learned bias per bucket and head, added to the attention scores."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(NUM_BUCKETS, heads)

    def forward(self, positions: FramePositions) -> Tensor:
        """[1, heads, num_frames, num_frames]."""
        return self.relative_attention_bias(positions.buckets).permute(2, 0, 1)[None]
