"""The released networks' configs."""

from lavie.models import UNetConfig

UPSCALER = UNetConfig(
    in_channels=7,
    block_out_channels=(256, 512, 512, 1024),
    down_block_types=("DownBlock3D",) + ("CrossAttnDownBlock3D",) * 3,
    up_block_types=("CrossAttnUpBlock3D",) * 3 + ("UpBlock3D",),
    cross_attention_dim=1024,
    use_linear_projection=True,
    only_cross_attention=(True, True, True, False),
    num_class_embeds=1000,
    temporal_convolutions=True,
)
INTERPOLATION = UNetConfig(
    in_channels=8, sparse_causal_attention=True, temporal_positions=False, temporal_attention_last=True
)
UNETS = {"base": UNetConfig(), "interpolation": INTERPOLATION, "upscaler": UPSCALER}
