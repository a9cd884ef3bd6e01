"""The video UNet of all LaVie stages: Stable Diffusion's UNet inflated to video."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from torch.utils.checkpoint import checkpoint

from .attention import TemporalStrategy
from .blocks import Conditioning, Downsample, FrameNorm, ResnetBlock, TemporalModule, Transformer, Upsample
from .config import UNetConfig
from .deep_feature import DeepFeature
from .positions import FramePositions, RotaryEmbedding
from .residuals import NOTHING, Parts, Residuals, added
from .slices import slices_of


def timestep_embedding(timesteps: Tensor, channels: int) -> Tensor:
    """Sinusoids, cosines first: timesteps [batch] or [batch, frames] (may be fractional) → float32 [..., channels]."""
    half = channels // 2
    frequencies = torch.exp(torch.arange(half, device=timesteps.device) * (-math.log(10000) / half))
    angles = timesteps.float()[..., None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class TimestepEmbedding(nn.Module):
    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_channels, channels)
        self.linear_2 = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(silu(self.linear_1(x)))


class DownBlock(nn.Module):
    """Resnets, each followed by a transformer if the level attends, then a stride-2 convolution."""

    def __init__(self, in_channels: int, level: int, config: UNetConfig) -> None:
        super().__init__()
        channels, emb_channels = config.block_out_channels[level], config.block_out_channels[0] * 4
        widths = [in_channels] + [channels] * (config.layers_per_block - 1)
        self.resnets = nn.ModuleList(
            ResnetBlock(width, channels, emb_channels, config.norm_num_groups, config.norm_eps) for width in widths
        )
        if config.down_block_types[level].startswith("CrossAttn"):
            only_cross = config.only_cross_attention[level]
            self.attentions = nn.ModuleList(Transformer(channels, config, only_cross) for _ in widths)
        else:
            self.attentions = None
        last = level == len(config.block_out_channels) - 1
        self.downsamplers = None if last else nn.ModuleList([Downsample(channels)])

    def forward(
        self, x: Tensor, cond: Conditioning, layers: int | None = None, control: Parts = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """layers: only the first ones, without the downsampler. control: what is added to its skip tensors."""
        skips, given = [], iter(control)
        for i, resnet in enumerate(islice(self.resnets, layers)):
            x = resnet(x, cond)
            if self.attentions is not None:
                x = self.attentions[i](x, cond)
            x = added(x, next(given, None))
            skips.append(x)
        if self.downsamplers is not None and layers is None:
            x = added(self.downsamplers[0](x, cond.slice_elements), next(given, None))
            skips.append(x)
        return x, skips


class MidBlock(nn.Module):
    """Resnet, transformer (always with self-attention), resnet."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        channels, emb_channels = config.block_out_channels[-1], config.block_out_channels[0] * 4
        self.attentions = nn.ModuleList([Transformer(channels, config)])
        self.resnets = nn.ModuleList(
            ResnetBlock(channels, channels, emb_channels, config.norm_num_groups, config.norm_eps) for _ in range(2)
        )

    def forward(self, x: Tensor, cond: Conditioning) -> Tensor:
        x = self.attentions[0](self.resnets[0](x, cond), cond)
        return self.resnets[1](x, cond)


class UpBlock(nn.Module):
    """The way back: every resnet takes one skip tensor; then nearest ×2 and a convolution."""

    def __init__(self, in_channels: int, skip_channels: list[int], position: int, config: UNetConfig) -> None:
        super().__init__()
        level = len(config.block_out_channels) - 1 - position
        channels, emb_channels = config.block_out_channels[level], config.block_out_channels[0] * 4
        widths = [in_channels] + [channels] * config.layers_per_block
        self.resnets = nn.ModuleList(
            ResnetBlock(width + skip, channels, emb_channels, config.norm_num_groups, config.norm_eps)
            for width, skip in zip(widths, skip_channels, strict=True)
        )
        if config.up_block_types[position].startswith("CrossAttn"):
            only_cross = config.only_cross_attention[level]
            self.attentions = nn.ModuleList(Transformer(channels, config, only_cross) for _ in widths)
        else:
            self.attentions = None
        self.upsamplers = None if level == 0 else nn.ModuleList([Upsample(channels)])

    def forward(self, x: Tensor, skips: list[Tensor], cond: Conditioning, layers: slice = slice(None)) -> Tensor:
        """layers: only these."""
        for i in range(len(self.resnets))[layers]:
            x = self.resnets[i](self.join(x, skips.pop(), i), cond)
            if self.attentions is not None:
                x = self.attentions[i](x, cond)
        if self.upsamplers is not None:
            x = self.upsamplers[0](x, skips[-1].shape[2:], cond.slice_elements)
        return x

    @staticmethod
    def join(x: Tensor, skip: Tensor, layer: int) -> Tensor:
        """What the resnet with this number sees; front ends may put patches in its place."""
        return torch.cat((x, skip), dim=1)


class VideoUNet(nn.Module):
    """Predicts the noise (or v) of a clip from all its frames at once.

    One class for base, interpolation, extension and upscaler; `UNetConfig` names what differs.
    Parameter names and shapes are those of the official checkpoints. `gradient_checkpointing` = True keeps only what
    goes in and out of the blocks for the backward pass, and computes the rest again: the same gradients in less memory.
    `slice_elements` = N makes every operation without gradients work on about N numbers of a feature map at a time: the
    same prediction, within rounding, in less memory.
    Source: base/models/unet.py, interpolation/models/unet.py, vsr/models/unet.py.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        self.slice_elements: int | None = None
        widths, emb_channels = config.block_out_channels, config.block_out_channels[0] * 4
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], emb_channels)
        classes = config.num_class_embeds
        self.class_embedding = nn.Embedding(classes, emb_channels) if classes else None
        self.down_blocks = nn.ModuleList(
            DownBlock(widths[max(level - 1, 0)], level, config) for level in range(len(widths))
        )
        self.mid_block = MidBlock(config)
        skips = skip_channels(config)
        self.up_blocks = nn.ModuleList(
            UpBlock(
                widths[min(len(widths) - position, len(widths) - 1)],
                [skips.pop() for _ in range(config.layers_per_block + 1)],
                position,
                config,
            )
            for position in range(len(widths))
        )
        if config.temporal_convolutions:
            self._add_temporal_modules(widths, emb_channels)
        self.conv_norm_out = FrameNorm(config.norm_num_groups, widths[0], config.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def _add_temporal_modules(self, widths: tuple[int, ...], emb_channels: int) -> None:
        self.down_temporal_blocks = nn.ModuleList(TemporalModule(width, emb_channels) for width in widths)
        self.mid_temporal_block = TemporalModule(widths[-1], emb_channels)
        self.up_temporal_blocks = nn.ModuleList(TemporalModule(width, emb_channels) for width in reversed(widths))
        self.temporal_rotary_emb = RotaryEmbedding()

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        class_labels: Tensor | None = None,
        num_images: int = 0,
        strategy: TemporalStrategy | None = None,
        down_hidden_states: Tensor | None = None,
        deep: DeepFeature | None = None,
        control: Residuals | None = None,
    ) -> Tensor:
        """Args:
            sample: [batch, in_channels, frames, height, width], any frames, height and width ≥ 1. For joint training on
                videos and images (paper, equation 3) the last `num_images` frames are images.
            timestep: a number or [batch], 0…999, may be fractional; [batch or 1, frames] where every frame has a noise
                level of its own. With images [batch, 1 + num_images], the video's first, or [batch, frames].
            encoder_hidden_states: [batch, tokens, cross_attention_dim], or [batch, frames, tokens, cross_attention_dim]
                where every frame has a text of its own. With images [batch, 1 + num_images, tokens,
                cross_attention_dim], the video's text first.
            class_labels: int64 [batch], the noise level (upscaler only).
            num_images: how many images follow the video's frames; temporal layers and the norms over frames leave
                them alone, so that an image changes nothing in the video nor in another image. Where all frames are
                images, timestep and text are those of the images: [batch, num_images], and so on.
            strategy: what is done in place of one temporal attention among all frames of the video.
            down_hidden_states: the text of the way down and the middle, where it is another; not with images.
            deep: where the deep feature of this evaluation is left, or that of an earlier one comes from; without
                images only.
            control: what ControlNets and T2I-Adapters add; without images only.

        Returns:
            [batch, out_channels, frames, height, width].
        """
        if num_images:
            return self._jointly(sample, timestep, encoder_hidden_states, class_labels, num_images, strategy)
        return self._predict(
            sample,
            timestep,
            encoder_hidden_states,
            class_labels,
            strategy=strategy,
            down_text=down_hidden_states,
            deep=deep,
            control=control or NOTHING,
        )

    def _jointly(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        text: Tensor,
        labels: Tensor | None,
        num_images: int,
        strategy: TemporalStrategy | None,
    ) -> Tensor:
        """All images go through as one batch of clips of one frame, without the layers that look along the frames."""
        batch, _, frames, _, _ = sample.shape
        video, images = sample.split((frames - num_images, num_images), dim=2)
        timesteps = torch.as_tensor(timestep, device=sample.device)
        if timesteps.ndim < 2:
            timesteps = timesteps.view(-1, 1).expand(batch, text.shape[1])
        if video.shape[2]:
            levels = timesteps[:, :-num_images]  # one for the clip, or one for each of its frames
            levels = levels[:, 0] if levels.shape[1] == 1 else levels
            of_video = self._predict(video, levels, text[:, 0], labels, strategy=strategy)
        else:
            of_video = video[:, : self.config.out_channels].to(self.dtype)
        images = images.transpose(1, 2).flatten(0, 1)[:, :, None]
        labels = None if labels is None else labels.expand(batch).repeat_interleave(num_images)
        of_images = self._predict(
            images,
            timesteps[:, -num_images:].flatten(),
            text[:, -num_images:].flatten(0, 1),
            labels,
            over_time=False,
        )
        return torch.cat((of_video, of_images[:, :, 0].unflatten(0, (batch, num_images)).transpose(1, 2)), dim=2)

    def _predict(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        text: Tensor,
        labels: Tensor | None,
        over_time: bool = True,
        strategy: TemporalStrategy | None = None,
        down_text: Tensor | None = None,
        deep: DeepFeature | None = None,
        control: Residuals = NOTHING,
    ) -> Tensor:
        batch, _, frames, _, _ = sample.shape
        cond = Conditioning(
            emb=self._embed(timestep, labels, batch, sample.device),
            text=text.to(self.dtype),
            positions=FramePositions.of(frames, sample.device),
            frames=frames,
            over_time=over_time,
            strategy=strategy,
            slice_elements=None if torch.is_grad_enabled() else self.slice_elements,
        )
        x = sample.to(self.dtype).permute(0, 2, 3, 4, 1).flatten(0, 1).contiguous().permute(0, 3, 1, 2)
        x = added(self.conv_in(x), control.inputs[0] if control.inputs else None)
        down = cond if down_text is None else replace(cond, text=down_text.to(self.dtype))
        if deep is None or deep.value is None:
            x, skips = self._down(x, down, control.inputs)
            x = self._after(self._run(self.mid_block, x, down), down, "mid_temporal_block")
            x, skips = added(x, control.middle), control.on_skips(skips)
            x = self._up(x, skips, cond, deep)
        else:
            x = self._shallow(x, cond, down, deep, control)
        x = self._out(x, cond)
        return x.unflatten(0, (batch, frames)).transpose(1, 2)

    def _embed(self, timestep: Tensor | float, labels: Tensor | None, batch: int, device: torch.device) -> Tensor:
        timesteps = torch.as_tensor(timestep, device=device)
        timesteps = timesteps if timesteps.ndim == 2 else timesteps.expand(batch)
        emb = self.time_embedding(timestep_embedding(timesteps, self.config.block_out_channels[0]).to(self.dtype))
        if self.class_embedding is None:
            return emb
        if labels is None:
            raise ValueError("this UNet needs class_labels: the noise level of its low-resolution input")
        label_emb = self.class_embedding(labels.to(device).expand(batch))
        return emb + (label_emb if emb.ndim == 2 else label_emb[:, None])

    def _down(self, x: Tensor, cond: Conditioning, control: Parts) -> tuple[Tensor, list[Tensor]]:
        skips = [x]
        for level, block in enumerate(self.down_blocks):
            x, block_skips = self._run(block, x, cond, None, control[len(skips) :])
            skips += block_skips
            x = self._after(x, cond, "down_temporal_blocks", level)
        return x, skips

    def _up(self, x: Tensor, skips: list[Tensor], cond: Conditioning, deep: DeepFeature | None) -> Tensor:
        for position, block in enumerate(self.up_blocks):
            if deep is not None and block is self.up_blocks[-1]:
                deep.value = x = block(x, skips, cond, slice(None, -deep.depth))
                x = block(x, skips, cond, slice(-deep.depth, None))
            elif self._recomputes():
                # A copy for each of the two runs, which take the tensors out of their list.
                taken = self.config.layers_per_block + 1
                own = skips[-taken - 1 :]
                del skips[-taken:]
                x = self._run(lambda x, b=block, s=own: b(x, list(s), cond), x)
            else:
                x = block(x, skips, cond)
            x = self._after(x, cond, "up_temporal_blocks", position)
        return x

    def _shallow(
        self, x: Tensor, cond: Conditioning, down: Conditioning, deep: DeepFeature, control: Residuals
    ) -> Tensor:
        """The way down and up as far as it runs when the deep feature is known."""
        _, skips = self.down_blocks[0](x, down, deep.depth - 1, control.inputs[1:])
        skips = control.on_skips([x, *skips])
        x = self.up_blocks[-1](deep.value, skips, cond, slice(-deep.depth, None))
        return self._after(x, cond, "up_temporal_blocks", len(self.up_blocks) - 1)

    def _after(self, x: Tensor, cond: Conditioning, name: str, index: int | None = None) -> Tensor:
        """The upscaler's temporal modules follow whole blocks; skip tensors keep the value before."""
        if not self.config.temporal_convolutions or not cond.over_time:
            return x
        module = getattr(self, name)
        return self._run(module if index is None else module[index], x, cond)

    def _out(self, x: Tensor, cond: Conditioning) -> Tensor:
        if cond.slice_elements is None:
            return self.conv_out(silu(self.conv_norm_out(x, cond.frames)))
        norm = self.conv_norm_out
        mean, scale = norm.moments(x, cond.frames, cond.slice_elements)
        parts = slices_of(x, 0, cond.slice_elements)
        return torch.cat([self.conv_out(silu(norm.normalised(x[i], mean[i], scale[i]), inplace=True)) for i in parts])

    def _recomputes(self) -> bool:
        return self.gradient_checkpointing and torch.is_grad_enabled()

    def _run(self, block: Callable[..., Any], *args: Any) -> Any:
        return checkpoint(block, *args, use_reentrant=False) if self._recomputes() else block(*args)


def skip_channels(config: UNetConfig) -> list[int]:
    """Channels of the skip tensors in the order in which the way down makes them."""
    widths = config.block_out_channels
    skips = [widths[0]]
    for level, width in enumerate(widths):
        skips += [width] * (config.layers_per_block + (level < len(widths) - 1))
    return skips


def build_unet(config: dict[str, Any] | UNetConfig) -> VideoUNet:
    """A UNet with random weights, in channels-last memory, from a config in official field names.

    Raises:
        LavieError: the config asks for something that no LaVie model is.
    """
    config = config if isinstance(config, UNetConfig) else UNetConfig.from_dict(config)
    return to_channels_last(VideoUNet(config))


def to_channels_last(unet: VideoUNet) -> VideoUNet:
    """Lay the convolution weights out as the feature maps are; call it again after assigning weights."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch does not declare it)
        elif isinstance(module, nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue]
    return unet
