"""ComfyUI's model patches on LaVie's UNet (FreeU, perturbed attention guidance, …), for one call.

Blocks are counted as in Stable Diffusion 1.x: input 0 is the first convolution, then come the resnets and downsamplers
of the down blocks; outputs are the resnets of the up blocks. Feature maps are [batch · frames, channels, height,
width], and spatial attention sees [batch · frames, pixels, channels], so that patches for images fit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ..lavie.models import VideoUNet
from ..lavie.models.attention import Attention
from ..lavie.models.blocks import Downsample, ResnetBlock, Transformer
from ..lavie.models.unet import DownBlock, UpBlock

BLOCK_PATCHES = ("input_block_patch", "output_block_patch")
ATTENTION_PATCHES = ("attn1", "attn2")
Options = dict[str, Any]
Block = tuple[str, int]
Kind = TypeVar("Kind", bound=nn.Module)


def unknown(options: Options) -> set[str]:
    """Names of patches that LaVie cannot use."""
    return (set(options.get("patches", ())) - set(BLOCK_PATCHES)) | (
        set(options.get("patches_replace", ())) - set(ATTENTION_PATCHES)
    )


@contextlib.contextmanager
def patched(unet: VideoUNet, options: Options) -> Iterator[None]:
    """A context manager: puts the patches of `transformer_options` into the UNet and removes them again."""
    with contextlib.ExitStack() as stack:
        patches = options.get("patches", {})
        for block, module in _inputs(unet).items():
            for patch in patches.get("input_block_patch", ()):
                stack.callback(module.register_forward_hook(_on_output(patch, options, block)).remove)
        for block, (resnet, skip) in _outputs(unet).items():
            for patch in patches.get("output_block_patch", ()):
                stack.callback(resnet.register_forward_pre_hook(_on_join(patch, skip, options, block)).remove)
        for name in ATTENTION_PATCHES:
            for place, patch in options.get("patches_replace", {}).get(name, {}).items():
                for block, transformer in _transformers(unet).items():
                    if place in (block, (*block, 0)):
                        attention = getattr(transformer, name)
                        attention.forward = _attention(attention, patch, options, block)
                        stack.callback(attention.__dict__.pop, "forward")
        yield


def _inputs(unet: VideoUNet) -> dict[Block, nn.Module]:
    """The last module of each input block."""
    modules: list[nn.Module] = [unet.conv_in]
    for level in _each(unet.down_blocks, DownBlock):
        modules += level.resnets if level.attentions is None else level.attentions
        modules += level.downsamplers or []
    return {("input", index): module for index, module in enumerate(modules)}


def _outputs(unet: VideoUNet) -> dict[Block, tuple[nn.Module, int]]:
    """The first module of each output block, and how many channels of its input belong to the skip tensor."""
    resnets = [resnet for level in _each(unet.up_blocks, UpBlock) for resnet in level.resnets]
    skips = [unet.conv_in.out_channels]
    for level in _each(unet.down_blocks, DownBlock):
        skips += [resnet.conv2.out_channels for resnet in _each(level.resnets, ResnetBlock)]
        skips += [sampler.conv.out_channels for sampler in _each(level.downsamplers, Downsample)]
    return {("output", i): pair for i, pair in enumerate(zip(resnets, reversed(skips), strict=True))}


def _transformers(unet: VideoUNet) -> dict[Block, nn.Module]:
    """The transformer block of each block that has one."""
    (middle,) = _each(unet.mid_block.attentions, Transformer)
    found: dict[Block, nn.Module] = {("middle", 0): middle.transformer_blocks[0]}
    index = 1
    for level in _each(unet.down_blocks, DownBlock):
        for layer, transformer in enumerate(_each(level.attentions, Transformer)):
            found["input", index + layer] = transformer.transformer_blocks[0]
        index += len(level.resnets) + len(level.downsamplers or [])
    index = 0
    for level in _each(unet.up_blocks, UpBlock):
        for layer, transformer in enumerate(_each(level.attentions, Transformer)):
            found["output", index + layer] = transformer.transformer_blocks[0]
        index += len(level.resnets)
    return found


def _each(modules: nn.ModuleList | None, kind: type[Kind]) -> list[Kind]:
    """The modules of a list, known to be of this kind, for type checkers; none where there is no list."""
    return cast("list[Kind]", list(modules or ()))


def _on_output(patch: Callable, options: Options, block: Block) -> Callable:
    return lambda _module, _inputs, output: patch(output, {**options, "block": block})


def _on_join(patch: Callable, skip: int, options: Options, block: Block) -> Callable:
    def hook(_module: nn.Module, inputs: tuple) -> tuple:
        x, *rest = inputs
        h, hsp = patch(x[:, :-skip].clone(), x[:, -skip:].clone(), {**options, "block": block})
        return (torch.cat((h, hsp), dim=1), *rest)

    return hook


def _attention(attention: Attention, patch: Callable, options: Options, block: Block) -> Callable:
    """The forward of a spatial (or text) attention with the patch as its core: (q, k, v, options) → values."""
    extra = {key: value for key, value in options.items() if key not in ("patches", "patches_replace")}
    extra |= {"block": block, "block_index": 0, "n_heads": attention.heads, "attn_precision": None}
    extra["dim_head"] = attention.to_q.out_features // attention.heads

    def forward(x: Tensor, text: Tensor | None = None, before: Tensor | None = None) -> Tensor:
        source = x.flatten(0, 1) if text is None else text
        q = attention.to_q(x).flatten(0, 1) if text is None else attention.to_q(x).flatten(1, 2)
        out = patch(q, attention.to_k(source), attention.to_v(source), extra)
        return attention.to_out[0](out).view_as(x)

    return forward
