"""The official data flow over the parameters of `VideoUNet`: what the other benchmarks measure ours against.

Written anew from the facts of the official code, op by op: five-dimensional feature maps that are rearranged for every
layer, text repeated for every frame, attention scores written out (or, where it had xformers, fused), real 3-D
convolutions. It predicts what `VideoUNet` predicts; tests/evaluation/test_official_flow.py holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn.functional import conv3d, group_norm, interpolate, scaled_dot_product_attention, silu

from lavie.models import VideoUNet
from lavie.models.attention import Attention, SparseCausalAttention, TextAttention
from lavie.models.blocks import ResnetBlock, TemporalConv, TemporalModule, Transformer, TransformerBlock
from lavie.models.positions import FramePositions

Core = Callable[[Tensor, Tensor, Tensor, "Tensor | None"], Tensor]  # q, k, v [batch, heads, tokens, channels], bias


def materialised(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention whose scores are a tensor."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    return (scores if bias is None else scores + bias).softmax(-1) @ v


def fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same by torch's kernel, as xformers would."""
    return scaled_dot_product_attention(q, k, v, attn_mask=bias)


class OfficialFlow(nn.Module):
    """A copy of a UNet, its weights in plain memory order, that predicts in the official data flow.

    core: the attention of space and text; that over time is always materialised.
    """

    def __init__(self, unet: VideoUNet, core: Core = materialised) -> None:
        super().__init__()
        self.unet = deepcopy(unet).to(memory_format=torch.contiguous_format)
        self.core = core

    def forward(
        self, sample: Tensor, timestep: Tensor | float, text: Tensor, class_labels: Tensor | None = None
    ) -> Tensor:
        """As `VideoUNet.forward`, with one text for all frames."""
        unet = self.unet
        emb = unet._embed(timestep, class_labels, len(sample), sample.device)
        x = _conv(unet.conv_in, sample)
        skips = [x]
        for level, block in enumerate(unet.down_blocks):
            for index, resnet in enumerate(block.resnets):
                x = self._resnet(resnet, x, emb)
                x = x if block.attentions is None else self._transformer(block.attentions[index], x, text)
                skips.append(x)
            for sampler in block.downsamplers or ():
                x = _conv(sampler.conv, x)
                skips.append(x)
            x = self._module("down_temporal_blocks", level, x, emb)
        middle = unet.mid_block
        x = self._transformer(middle.attentions[0], self._resnet(middle.resnets[0], x, emb), text)
        x = self._resnet(middle.resnets[1], x, emb)
        x = self._module("mid_temporal_block", None, x, emb)
        for position, block in enumerate(unet.up_blocks):
            for index, resnet in enumerate(block.resnets):
                x = self._resnet(resnet, torch.cat((x, skips.pop()), dim=1), emb)
                x = x if block.attentions is None else self._transformer(block.attentions[index], x, text)
            for sampler in block.upsamplers or ():
                x = _conv(sampler.conv, interpolate(x, size=skips[-1].shape[2:], mode="nearest"))
            x = self._module("up_temporal_blocks", position, x, emb)
        return _conv(unet.conv_out, silu(_norm(unet.conv_norm_out, x)))

    def _module(self, name: str, index: int | None, x: Tensor, emb: Tensor) -> Tensor:
        if not self.unet.config.temporal_convolutions:
            return x
        module: TemporalModule = getattr(self.unet, name) if index is None else getattr(self.unet, name)[index]
        h = self._resnet(module.resblocks_3d_s, self._resnet(module.resblocks_3d_t, x, emb), emb)
        return x + _conv(module.shift_conv, h)

    @staticmethod
    def _resnet(block: ResnetBlock, x: Tensor, emb: Tensor) -> Tensor:
        h = _conv(block.conv1, silu(_norm(block.norm1, x)))
        if block.time_emb_proj is not None:
            h = h + block.time_emb_proj(silu(emb))[:, :, None, None, None]
        h = _conv(block.conv2, silu(_norm(block.norm2, h)))
        return h + (x if block.conv_shortcut is None else _conv(block.conv_shortcut, x))

    def _transformer(self, module: Transformer, x: Tensor, text: Tensor) -> Tensor:
        if module.resblock_temporal is not None:
            x = self._resnet(module.resblock_temporal, x, text)
        frames, height = x.shape[2:4]
        images = rearrange(x, "b c f h w -> (b f) c h w")
        texts = repeat(text, "b n c -> (b f) n c", f=frames)
        h = _norm(module.norm, images)
        linear = isinstance(module.proj_in, nn.Linear)
        h = h if linear else module.proj_in(h)
        h = rearrange(h, "b c h w -> b (h w) c")
        h = module.proj_in(h) if linear else h
        for block in module.transformer_blocks:
            h = self._block(block, h, texts, frames)
        h = module.proj_out(h) if linear else h
        h = rearrange(h, "b (h w) c -> b c h w", h=height).contiguous()
        h = (h if linear else module.proj_out(h)) + images
        return rearrange(h, "(b f) c h w -> b c f h w", f=frames)

    def _block(self, block: TransformerBlock, x: Tensor, text: Tensor, frames: int) -> Tensor:
        x = x + self._attention(block.attn1, block.norm1(x), text, frames)
        x = x + self._attention(block.attn2, block.norm2(x), text, frames)
        if block.temporal_last:
            x = x + block.ff(block.norm3(x))
            return self._over_time(block, x, frames)
        x = self._over_time(block, x, frames)
        return x + block.ff(block.norm3(x))

    def _attention(self, attention: Attention, x: Tensor, text: Tensor, frames: int) -> Tensor:
        source = text if isinstance(attention, TextAttention) else x
        q, k, v = attention.to_q(x), attention.to_k(source), attention.to_v(source)
        if isinstance(attention, SparseCausalAttention):
            k, v = (_first_and_previous(t, frames) for t in (k, v))
        q, k, v = (_heads(t, attention.heads) for t in (q, k, v))
        return attention.to_out[0](rearrange(self.core(q, k, v, None), "b h n d -> b n (h d)"))

    @staticmethod
    def _over_time(block: TransformerBlock, x: Tensor, frames: int) -> Tensor:
        pixels = x.shape[1]
        attention = getattr(block, f"attn_{block.temporal_name}")
        tokens = rearrange(x, "(b f) d c -> (b d) f c", f=frames)
        normed = getattr(block, f"norm_{block.temporal_name}")(tokens)
        q, k, v = (_heads(to(normed), attention.heads) for to in (attention.to_q, attention.to_k, attention.to_v))
        bias = None
        if attention.positions:
            positions = FramePositions.of(frames, x.device)
            q, k = (positions.rotate(t.transpose(1, 2)[:, :, None])[:, :, 0].transpose(1, 2) for t in (q, k))
            bias = attention.time_rel_pos_bias(positions).to(q.dtype)
        out = attention.to_out[0](rearrange(materialised(q, k, v, bias), "b h n d -> b n (h d)"))
        return rearrange(tokens + out, "(b d) f c -> (b f) d c", d=pixels)


def _conv(layer: nn.Module, x: Tensor) -> Tensor:
    """On feature maps [batch, channels, frames, height, width]."""
    if isinstance(layer, TemporalConv):
        return conv3d(x, layer.weight, layer.bias, padding=layer.padding)
    out = nn.Conv2d.forward(layer, rearrange(x, "b c f h w -> (b f) c h w"))
    return rearrange(out, "(b f) c h w -> b c f h w", f=x.shape[2])


def _norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    return group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


def _heads(x: Tensor, heads: int) -> Tensor:
    return rearrange(x, "b n (h d) -> b h n d", h=heads).contiguous()


def _first_and_previous(x: Tensor, frames: int) -> Tensor:
    clip = rearrange(x, "(b f) n c -> b f n c", f=frames)
    previous = [max(frame - 1, 0) for frame in range(frames)]
    both = torch.cat((clip[:, [0] * frames], clip[:, previous]), dim=2)
    return rearrange(both, "b f n c -> (b f) n c")
