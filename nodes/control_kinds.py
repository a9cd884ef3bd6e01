"""Which control objects of the host fit LaVie's network; others are refused in a sentence, before any work."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..lavie.errors import UsageError
from ..lavie.models import VideoUNet
from ..lavie.models.unet import skip_channels
from ..lavie.stages import STAGES
from .control import chain_of

TAKES = "LaVie takes ControlNets and T2I-Adapters made for Stable Diffusion 1.x."
LORA = "A Control-LoRA patches Stable Diffusion's own weights, which LaVie has under other names. Use the ControlNet."
OWN_MOTION = "was made to work with AnimateDiff's motion layers, which LaVie does not have."
NO_BATCH = "patches parts that LaVie's network does not have."
BY_NAME = {"ControlLora": LORA, "Sparse": f"SparseCtrl {OWN_MOTION}", "Reference": f"Reference-only {NO_BATCH}"}
BY_NAME |= {"LLLite": f"ControlNet-LLLite {NO_BATCH}"}


def refuse_foreign(control: Any, unet: VideoUNet, stage: str) -> None:
    """Raise if a control object, or one before it in its chain, cannot act on this stage's network.

    Raises:
        UsageError: it is so.
    """
    if not STAGES[stage].takes_controls:
        taking = " and ".join(spec.node for spec in STAGES.values() if spec.takes_controls)
        raise UsageError(
            f"ControlNets and T2I-Adapters act in {taking}; LaVie's {stage} stage follows the frames it is given. Take "
            "Apply ControlNet out of its conditioning."
        )
    for each in chain_of(control):
        told = _foreign(each, unet)
        if told:
            raise UsageError(told if told.endswith(".") else f"{told} {TAKES}")


def _foreign(control: Any, unet: VideoUNet) -> str:
    """What a control was made for instead; empty: it fits."""
    kind = type(control).__name__
    for part, told in BY_NAME.items():
        if part in kind:
            return told
    if control.cond_hint_original is None or not len(control.cond_hint_original):
        return "Apply ControlNet has no image to follow: its image input holds 0 frames."
    adapter, network = getattr(control, "t2i_model", None), getattr(control, "control_model", None)
    if adapter is not None:
        return _foreign_adapter(adapter, unet)
    zero_convs = getattr(network, "zero_convs", None)
    if network is None or zero_convs is None:
        return f"This control ({kind}) was made for another kind of model. {TAKES}"
    widths, own = [conv[0].out_channels for conv in zero_convs], skip_channels(unet.config)
    if getattr(network, "label_emb", None) is not None:
        return f"This ControlNet was made for Stable Diffusion XL or another kind of model. {TAKES}"
    return _unfit(widths, own) or _unfit_text(network, unet)


def _foreign_adapter(adapter: Any, unet: VideoUNet) -> str:
    widths: list[int] = list(getattr(adapter, "channels", ()))
    if getattr(adapter, "xl", False) or not widths:
        return f"This T2I-Adapter was made for Stable Diffusion XL or another kind of model. {TAKES}"
    return _unfit(widths, list(unet.config.block_out_channels))


def _unfit(widths: list[int], own: list[int]) -> str:
    if widths == own:
        return ""
    return (
        f"This ControlNet or T2I-Adapter is for networks of the widths {_words(widths)}; this MODEL has {_words(own)}. "
        "Those for Stable Diffusion 1.x fit the released LaVie models."
    )


def _words(widths: list[int]) -> str:
    return ", ".join(str(width) for width in dict.fromkeys(widths))


def _unfit_text(network: nn.Module, unet: VideoUNet) -> str:
    reads = next((each.in_features for name, each in network.named_modules() if name.endswith("attn2.to_k")), None)
    own = unet.config.cross_attention_dim
    if reads in (None, own):
        return ""
    return f"This ControlNet reads text of {reads} channels, this MODEL {own}: it was made for another model. {TAKES}"
