"""ComfyUI's model patches on LaVie's UNet (FreeU, ToMe, Deep Shrink, …), for one call.

Blocks are counted as in Stable Diffusion 1.x: input 0 is the first convolution, then come the resnets and downsamplers
of the down blocks; outputs are the resnets of the up blocks. Feature maps are [batch · frames, channels, height,
width], and attention sees [batch · frames, pixels, channels], so that patches for images fit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ..lavie.models import VideoUNet
from ..lavie.models.attention import Attention, SparseCausalAttention
from ..lavie.models.blocks import Transformer, TransformerBlock
from ..lavie.models.unet import DownBlock, UpBlock

ATTENTIONS = ("attn1", "attn2")
PATCHES = (
    "emb_patch",
    "input_block_patch",
    "input_block_patch_after_skip",
    "output_block_patch",
    "middle_patch",
    *(f"{name}_{kind}" for name in ATTENTIONS for kind in ("patch", "output_patch")),
)
Options = dict[str, Any]
Block = tuple[str, int]
Kind = TypeVar("Kind", bound=nn.Module)


def unknown(options: Options) -> dict[str, list]:
    """The patches that LaVie cannot use, by the place that they are for."""
    patches = {name: list(each) for name, each in options.get("patches", {}).items() if name not in PATCHES}
    replaced = options.get("patches_replace", {})
    return patches | {name: list(each.values()) for name, each in replaced.items() if name not in ATTENTIONS}


@contextlib.contextmanager
def patched(unet: VideoUNet, options: Options) -> Iterator[None]:
    """A context manager: puts the patches of `transformer_options` into the UNet and removes them again."""
    with contextlib.ExitStack() as stack:
        _patch_blocks(unet, options, stack)
        _patch_attention(unet, options, stack)
        yield


def _patch_blocks(unet: VideoUNet, options: Options, stack: contextlib.ExitStack) -> None:
    patches, hooks = options.get("patches", {}), []
    for patch in patches.get("emb_patch", ()):
        hooks.append(unet.time_embedding.register_forward_hook(_on_embedding(patch, unet, options)))
    modules = _inputs(unet)
    for index, module in enumerate(modules):
        at = {**options, "block": ("input", index)}
        for patch in patches.get("input_block_patch", ()):
            hooks.append(module.register_forward_hook(_on_output(patch, at)))
        following = _first(unet, modules[index + 1]) if index + 1 < len(modules) else unet.mid_block
        for patch in patches.get("input_block_patch_after_skip", ()):
            hooks.append(following.register_forward_pre_hook(_on_input(patch, at)))
    for hook in hooks:
        stack.callback(hook.remove)
    number, joining = 0, patches.get("output_block_patch", ())
    for level in _each(unet.up_blocks, UpBlock) if joining else ():
        _replace(stack, level, "join", _join(joining, options, number))
        number += len(level.resnets)


def _on_embedding(patch: Callable, unet: VideoUNet, options: Options) -> Callable:
    return lambda _module, _inputs, emb: patch(emb, unet.config.block_out_channels[0], options)


def _on_output(patch: Callable, options: Options) -> Callable:
    return lambda _module, _inputs, h: patch(h, options)


def _on_input(patch: Callable, options: Options) -> Callable:
    return lambda _module, inputs: (patch(inputs[0], options), *inputs[1:])


def _inputs(unet: VideoUNet) -> list[nn.Module]:
    """The last module of each input block."""
    modules: list[nn.Module] = [unet.conv_in]
    for level in _each(unet.down_blocks, DownBlock):
        modules += level.resnets if level.attentions is None else level.attentions
        modules += level.downsamplers or []
    return modules


def _first(unet: VideoUNet, last: nn.Module) -> nn.Module:
    """The first module of the block that ends with `last`."""
    for level in _each(unet.down_blocks, DownBlock):
        for resnet, attention in zip(level.resnets, level.attentions or (), strict=False):
            if attention is last:
                return resnet
    return last


def _join(patches: list[Callable], options: Options, first: int) -> Callable:
    """`UpBlock.join` of a level whose first resnet is the output block number `first`."""

    def join(x: Tensor, skip: Tensor, layer: int) -> Tensor:
        at = {**options, "block": ("output", first + layer)}
        x = x.clone()  # patches change it, and a deep feature is kept
        for patch in patches:
            x, skip = patch(x, skip, at)
        return torch.cat((x, skip), dim=1)

    return join


def _patch_attention(unet: VideoUNet, options: Options, stack: contextlib.ExitStack) -> None:
    patches, replaced = options.get("patches", {}), options.get("patches_replace", {})
    for index, (block, transformer) in enumerate(_transformers(unet).items()):
        extra = {key: value for key, value in options.items() if key not in ("patches", "patches_replace")}
        extra |= {"block": block, "block_index": 0, "transformer_index": index, "attn_precision": None}
        if patches.get("middle_patch"):
            middle = _after_space(transformer, patches["middle_patch"], extra)
            _replace(stack, transformer, "_add_of_space", middle)
        for name in ATTENTIONS:
            here = replaced.get(name, {})
            core = here.get((*block, 0), here.get(block, _core))
            first, last = (patches.get(f"{name}_{kind}", ()) for kind in ("patch", "output_patch"))
            if first or last or core is not _core:
                attention = getattr(transformer, name)
                _replace(stack, attention, "forward", _attention(attention, first, core, last, extra))


def _transformers(unet: VideoUNet) -> dict[Block, TransformerBlock]:
    """The transformer block of each block that has one, in the order of the forward pass."""
    found: dict[Block, TransformerBlock] = {}
    index = 1
    for level in _each(unet.down_blocks, DownBlock):
        for layer, transformer in enumerate(_each(level.attentions, Transformer)):
            found["input", index + layer] = _only(transformer)
        index += len(level.resnets) + len(level.downsamplers or [])
    found["middle", 0] = _only(_each(unet.mid_block.attentions, Transformer)[0])
    index = 0
    for level in _each(unet.up_blocks, UpBlock):
        for layer, transformer in enumerate(_each(level.attentions, Transformer)):
            found["output", index + layer] = _only(transformer)
        index += len(level.resnets)
    return found


def _only(transformer: Transformer) -> TransformerBlock:
    (block,) = _each(transformer.transformer_blocks, TransformerBlock)
    return block


def _each(modules: nn.ModuleList | None, kind: type[Kind]) -> list[Kind]:
    """The modules of a list, known to be of this kind, for type checkers; none where there is no list."""
    return cast("list[Kind]", list(modules or ()))


def _replace(stack: contextlib.ExitStack, module: nn.Module, method: str, by: Callable) -> None:
    """Until the stack is closed."""
    module.__dict__[method] = by
    stack.callback(module.__dict__.pop, method)


def _after_space(transformer: TransformerBlock, patches: list[Callable], extra: Options) -> Callable:
    add_of_space = transformer._add_of_space

    def patched_space(x: Tensor, cond: Any) -> Tensor:
        x = add_of_space(x, cond)
        frames = x.flatten(0, 1)
        for patch in patches:
            frames = patch(frames, extra)
        return frames.view_as(x)

    return patched_space


def _attention(
    attention: Attention, first: list[Callable], core: Callable, last: list[Callable], extra: Options
) -> Callable:
    """The forward of a spatial or text attention with patches of (tokens, source of keys, source of values, extra), one
    in place of its core, (q, k, v, extra) → values, and patches of what comes out, (tokens, extra)."""
    extra = {**extra, "n_heads": attention.heads, "dim_head": attention.to_q.out_features // attention.heads}

    def forward(x: Tensor, text: Tensor | None = None, before: Tensor | None = None) -> Tensor:
        tokens = x.flatten(0, 1)
        keys = values = _source(attention, x, text, before)
        for patch in first:
            tokens, keys, values = patch(tokens, keys, values, extra)
        q, k, v = attention.to_q(tokens), attention.to_k(keys), attention.to_v(values)
        out = attention.to_out[0](core(q, k, v, extra))
        for patch in last:
            out = patch(out, extra)
        return out.view_as(x)

    return forward


def _source(attention: Attention, x: Tensor, text: Tensor | None, before: Tensor | None) -> Tensor:
    """What each frame attends to, [batch · frames, tokens, channels]."""
    if text is not None:
        per_frame = text if text.ndim == 4 else text[:, None].expand(-1, x.shape[1], -1, -1)
        return per_frame.flatten(0, 1)
    if isinstance(attention, SparseCausalAttention):
        return attention.first_and_previous(x, before).flatten(0, 1)
    return x.flatten(0, 1)


def _core(q: Tensor, k: Tensor, v: Tensor, extra: Options) -> Tensor:
    """Like the host's own attention, which shapes keys and values to the batch of the queries (HyperTile relies on
    it)."""
    q, k, v = (each.reshape(len(q), -1, extra["n_heads"], extra["dim_head"]).transpose(1, 2) for each in (q, k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
