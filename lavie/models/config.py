"""`UNetConfig`: what distinguishes one LaVie UNet from another, in named fields."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from ..bounded import either, flag, nothing, real, require_fields, several, whole, word
from ..errors import LavieError

# Official fields that every released model sets alike; another value would be another architecture.
_FIXED: dict[str, Any] = {
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "act_fn": "silu",
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "video_condition": False,
    "dual_cross_attention": False,
    "upcast_attention": False,
    "use_relative_position": False,
    "num_embeds_ada_norm": None,
}


_LEVELS = 8  # twice those of any released model
_BLOCKS = ("CrossAttnDownBlock3D", "DownBlock3D", "CrossAttnUpBlock3D", "UpBlock3D")
_RULES = {
    **dict.fromkeys(("in_channels", "out_channels"), whole(1, 1024)),
    "block_out_channels": several(whole(1, 16_384), _LEVELS),
    **dict.fromkeys(("down_block_types", "up_block_types"), several(word(*_BLOCKS), _LEVELS)),
    "layers_per_block": whole(1, 16),
    "attention_head_dim": whole(1, 1024),
    "cross_attention_dim": whole(1, 65_536),
    "norm_num_groups": whole(1, 16_384),
    "norm_eps": real(0, 1),
    "only_cross_attention": either(flag, several(flag, _LEVELS)),
    "num_class_embeds": either(nothing, whole(0, 100_000)),
    **dict.fromkeys(("use_linear_projection", "use_first_frame", "sparse_causal_attention"), flag),
    **dict.fromkeys(("temporal_positions", "temporal_attention_last", "temporal_convolutions"), flag),
}


@dataclass(frozen=True)
class UNetConfig:
    """Architecture of a video UNet; the defaults are LaVie's base model.

    Field names are those of diffusers' UNet configs and of the official LaVie config files. The last
    group names the real differences between the stages; `from_dict` derives it from the official
    switches `use_first_frame` (interpolation) and `temporal_module_config` (upscaler).
    """

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock3D",) * 3 + ("DownBlock3D",)
    up_block_types: tuple[str, ...] = ("UpBlock3D",) + ("CrossAttnUpBlock3D",) * 3
    layers_per_block: int = 2
    attention_head_dim: int = 8  # the NUMBER of heads: a misnomer that diffusers' configs carry
    cross_attention_dim: int = 768
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    use_linear_projection: bool = False
    only_cross_attention: tuple[bool, ...] = (False,) * 4
    num_class_embeds: int | None = None

    sparse_causal_attention: bool = False  # spatial attention looks at the first and the previous frame
    temporal_positions: bool = True  # rotary positions and relative bias in the temporal attention
    temporal_attention_last: bool = False  # temporal attention after the feed-forward, not before it
    temporal_convolutions: bool = False  # the upscaler's temporal modules and temporal resnets

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> UNetConfig:
        """Read a config in official or own field names.

        Raises:
            LavieError: a field asks for an architecture that no LaVie model has.
        """
        require_fields(config, _RULES, "UNet config")
        for name, expected in _FIXED.items():
            if name in config and config[name] != expected:
                raise LavieError(f"UNet config: {name} = {config[name]!r} is not a LaVie architecture.")
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items() if k in known}
        levels = len(values.get("block_out_channels", cls.block_out_channels))
        only_cross = values.get("only_cross_attention", False)
        values["only_cross_attention"] = (only_cross,) * levels if isinstance(only_cross, bool) else only_cross
        if config.get("use_first_frame"):
            values.setdefault("sparse_causal_attention", True)
            values.setdefault("temporal_positions", False)
            values.setdefault("temporal_attention_last", True)
        if config.get("temporal_module_config") is not None:
            values.setdefault("temporal_convolutions", True)
        return cls(**values)

    def __post_init__(self) -> None:
        levels = len(self.block_out_channels)
        if not len(self.down_block_types) == len(self.up_block_types) == len(self.only_cross_attention) == levels:
            raise LavieError("UNet config: block_out_channels and the block types differ in length.")
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups or channels % self.attention_head_dim:
                raise LavieError(
                    f"UNet config: width {channels} does not divide into {self.norm_num_groups} norm groups "
                    f"and {self.attention_head_dim} heads."
                )
        if self.temporal_positions and min(self._attended_widths()) < 32 * self.attention_head_dim:
            raise LavieError("UNet config: rotary positions need at least 32 channels per attention head.")

    def _attended_widths(self) -> list[int]:
        pairs = zip(self.block_out_channels, self.down_block_types, strict=True)
        return [width for width, kind in pairs if kind.startswith("CrossAttn")] + [self.block_out_channels[-1]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, readable again by `from_dict`."""
        return asdict(self)
