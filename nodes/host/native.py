"""ComfyUI's own MODEL and CLIP around LaVie's networks."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ...lavie.checkpoints.stored import CONFIG_KEY, FAMILY_KEY, STAGE_KEY
from ...lavie.errors import UsageError
from ...lavie.models import VideoUNet
from ...lavie.models.text_encoder import TextEncoder
from ...lavie.runtime.memory import activation_bytes
from ...lavie.stages import STAGES
from ...lavie.tensor_files import NOTES, notes_tensor
from ..adapters import OWN, PER_FRAME, GraphText, GraphTokenizer, GraphUNet, StageInfo
from ..control import MARKS, OverFrames
from .devices import Patcher, comfy, compute_device, required
from .previews import with_moving_previews
from .weights import refusing

log = logging.getLogger(__name__)

# Raises if a MODEL or its conditionings, by the names of their inputs, hold what a core sampler would not use.
Check = Callable[[Any, dict[str, list[dict]]], None]

LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)
X4_VAE_FACTOR = 4  # of Stable Diffusion's x4 upscaler


class PlainModel(nn.Module):
    """What LaVie's nodes need of a BaseModel, where that class is missing."""

    def __init__(self, unet: GraphUNet, info: StageInfo) -> None:
        super().__init__()
        self.diffusion_model, self.lavie = unet, info


def make_model(unet: VideoUNet, info: StageInfo, check: Check) -> Any:
    """A MODEL: ComfyUI's ModelPatcher around its BaseModel around the UNet."""
    adopted = GraphUNet.adopt(unet)
    if comfy("comfy.model_base") is not None:
        try:
            return _native_model(adopted, info, check)
        except (ImportError, AttributeError, TypeError) as lack:
            log.warning("This ComfyUI lacks what a native MODEL needs (%s): core samplers and LoRA are off.", lack)
    return Patcher(PlainModel(adopted, info), compute_device())


def _native_model(unet: GraphUNet, info: StageInfo, check: Check) -> Any:
    base, management = required("comfy.model_base"), required("comfy.model_management")
    _use_host_layers(unet)
    unet.around = _within_wrappers

    class LaVie(base.BaseModel):
        lavie = info

        def memory_required(self, input_shape: Any, cond_shapes: Any = None) -> float:
            return activation_bytes(self.diffusion_model, input_shape)

        def extra_conds(self, **options: Any) -> dict[str, Any]:
            texts = options.get(PER_FRAME)
            own = {} if texts is None else {"c_crossattn": required("comfy.conds").CONDRegular(texts)}
            return {**super().extra_conds(**options), **own}

    predicts = "V_PREDICTION" if info.config.prediction_type == "v_prediction" else "EPS"
    model = LaVie(_native_config(unet, info), getattr(base.ModelType, predicts))
    model.diffusion_model = unet
    if info.config.prediction_type == "sample":
        model.model_sampling = _clean_sampling(model.model_config)
    patcher = refusing(required("comfy.model_patcher").ModelPatcher)(
        model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )
    extension = required("comfy.patcher_extension")
    patcher.add_wrapper_with_key(extension.WrappersMP.PREPARE_SAMPLING, OWN, _checked(check))
    patcher.add_wrapper_with_key(extension.WrappersMP.OUTER_SAMPLE, OWN, with_moving_previews)
    return patcher


def _checked(check: Check) -> Callable:
    """Core samplers begin with this, before they load anything."""

    def prepare(executor: Callable, model: Any, noise_shape: Any, conds: dict[str, list[dict]], **options: Any) -> Any:
        check(model, conds)
        conds = {name: [_over_all_frames(each) for each in several] for name, several in conds.items()}
        _with_controls_over_frames(conds, noise_shape[2] if len(noise_shape) == 5 else 1)
        return executor(model, noise_shape, conds, **options)

    return prepare


def _over_all_frames(conditioning: dict[str, Any]) -> dict[str, Any]:
    """An area in percent of an image, as one of a video; the host does so with areas in pixels only."""
    kind, *sides = conditioning.get("area") or (None,)
    if kind != "percentage" or len(sides) != 4:
        return conditioning
    height, width, top, left = sides
    return {**conditioning, "area": ("percentage", 1.0, height, width, 0.0, top, left)}


def _with_controls_over_frames(conds: dict[str, list[dict]], num_frames: int) -> None:
    """Put controls that are made for images in a form for videos; those that are one object stay one."""
    made: dict[int, OverFrames] = {}
    for conditioning in (each for several in conds.values() for each in several):
        control = conditioning.get("control")
        if control is not None:
            conditioning["control"] = made.setdefault(id(control), OverFrames(control).over(num_frames))


def _within_wrappers(call: Callable, unet: GraphUNet, options: dict[str, Any]) -> Callable:
    """EasyCache and others of its kind put themselves around a call of the network."""
    extension = required("comfy.patcher_extension")
    wrappers = extension.get_all_wrappers(extension.WrappersMP.DIFFUSION_MODEL, options)
    return extension.WrapperExecutor.new_class_executor(call, unet, wrappers).execute


def _native_config(unet: GraphUNet, info: StageInfo) -> Any:
    """ComfyUI's "sqrt_linear" betas are LaVie's truly linear ones; its "linear" is diffusers' scaled_linear."""

    class LaVieConfig(required("comfy.supported_models_base").BASE):
        sampling_settings = {"beta_schedule": "sqrt_linear", "linear_start": 1e-4, "linear_end": 2e-2}  # noqa: RUF012

        def process_unet_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
            notes = {CONFIG_KEY: json.dumps(unet.config.to_dict()), STAGE_KEY: info.stage, FAMILY_KEY: info.model}
            own = {name: tensor.clone() for name, tensor in state_dict.items()}  # layers share their frequencies
            return super().process_unet_state_dict_for_saving({**own, NOTES: notes_tensor(notes)})

        def process_clip_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
            raise UsageError("LaVie's stages are no Stable Diffusion checkpoints: save the MODEL with Save Model.")

    # By model_channels FreeU finds the two deepest levels: 4 and 2 times as wide in Stable Diffusion.
    width = unet.config.block_out_channels[-1] // 4
    config = LaVieConfig({"disable_unet_model_creation": True, "model_channels": width})
    config.set_inference_dtype(unet.dtype, None)
    config.latent_format = latent_format(info)
    return config


def _clean_sampling(config: Any) -> Any:
    """ComfyUI has no ModelType for networks that predict the clean latents, only the two halves of one."""
    sampling = required("comfy.model_sampling")

    class ModelSampling(sampling.ModelSamplingDiscrete, sampling.X0):
        pass

    return ModelSampling(config)


def latent_format(info: StageInfo) -> Any:
    """The scale of the stage's latents and the colours of its previews; three dimensions, no TAESD (it is 2-D)."""
    formats = required("comfy.latent_formats")
    chosen = formats.SD_X4() if STAGES[info.stage].vae_factor == X4_VAE_FACTOR else formats.SD15()
    chosen.latent_dimensions = 3
    chosen.taesd_decoder_name = None
    chosen.scale_factor = info.scaling_factor
    if info.config.latent_rgb_factors:
        *factors, bias = info.config.latent_rgb_factors
        chosen.latent_rgb_factors = [list(row) for row in factors]
        chosen.latent_rgb_factors_bias = list(bias)
    return chosen


def _use_host_layers(network: nn.Module) -> None:
    """Give every plain layer the host's class of its kind, which can be loaded partially (low VRAM), and whose weights
    can be patched on the way."""
    layers = required("comfy.ops").disable_weight_init
    kinds = {kind: getattr(layers, kind.__name__) for kind in LAYERS}
    made: dict[type, type] = {}
    for module in network.modules():
        own = type(module)
        kind = next((kind for kind in kinds if isinstance(module, kind)), None)
        if kind is None or isinstance(module, kinds[kind]):
            continue
        if own not in made:
            replaced = {"own_values": _own_values} if hasattr(own, "own_values") else {}
            made[own] = kinds[kind] if own is kind else type(own.__name__, (own, kinds[kind]), replaced)
        module.__class__ = made[own]
        if isinstance(module, nn.Embedding):
            module.register_parameter("bias", None)  # which the host's has


def _own_values(layer: Any, like: Tensor) -> tuple[Tensor, Tensor | None]:
    """`FrameNorm.own_values` of a layer with the host's class."""
    if layer.comfy_cast_weights or layer.weight_function or layer.bias_function:
        return required("comfy.ops").cast_bias_weight(layer, like)
    return layer.weight, layer.bias


def own_weight(layer: Any) -> Tensor:
    """A layer's weight, float32, with the patches that the host keeps beside it (low VRAM)."""
    if getattr(layer, "comfy_cast_weights", False) or getattr(layer, "weight_function", ()):
        cast = required("comfy.ops").cast_bias_weight
        return cast(layer, dtype=torch.float32, bias_dtype=torch.float32, device=layer.weight.device)[0]
    return layer.weight.float()


def remember_how_to_load(model: Any, load: Callable[..., Any], *arguments: Any) -> None:
    """Tell the host how to load this MODEL once more, from its files: it puts one on each card (MultiGPU CFG Split) or
    on another device (Select Model Device)."""

    def again(*_: Any, **_options: Any) -> Any:
        return load(*arguments)

    model.cached_patcher_init = (again, ())


def keywords(model: Any) -> Callable[[Sequence[str]], dict[str, Any]] | None:
    """See `lavie.job.Job.keywords`: the patches that nodes put on a MODEL, and which halves they see."""
    patches = getattr(model, "model_options", {}).get("transformer_options", {})
    if not patches:
        return None

    def of(halves: Sequence[str]) -> dict[str, Any]:
        return {"transformer_options": {**patches, "cond_or_uncond": [MARKS[half] for half in halves]}}

    return of


def make_clip(encoder: TextEncoder, info: StageInfo) -> Any:
    """A CLIP: ComfyUI's own class around LaVie's tokenizer and text encoder."""
    text, tokenizer = GraphText(encoder, info), GraphTokenizer(encoder)
    sd = comfy("comfy.sd")
    if sd is not None:
        try:
            _use_host_layers(encoder.model)
            target = SimpleNamespace(params={}, clip=lambda **_: text, tokenizer=lambda **_: tokenizer)
            clip = sd.CLIP(target, model_options={"dtype": encoder.model.dtype}, **_without_dynamic_vram(sd.CLIP))
            clip.patcher.__class__ = refusing(type(clip.patcher))
            return clip
        except (ImportError, AttributeError, TypeError) as lack:
            log.warning("This ComfyUI lacks what a native CLIP needs (%s): core text nodes are off.", lack)
    return PlainClip(text, tokenizer)


def _without_dynamic_vram(kind: type) -> dict[str, bool]:
    """Newer hosts give a CLIP a patcher that keeps weights in files until they are used; ours come from memory."""
    return {"disable_dynamic": True} if "disable_dynamic" in inspect.signature(kind).parameters else {}


class PlainClip:
    """The two methods of ComfyUI's CLIP that LaVie's nodes call, if that class is missing."""

    def __init__(self, text: GraphText, tokenizer: GraphTokenizer) -> None:
        self.cond_stage_model, self.tokenizer = text, tokenizer

    def tokenize(self, text: str) -> dict[str, list]:
        return self.tokenizer.tokenize_with_weights(text)

    def encode_from_tokens_scheduled(self, tokens: dict[str, list]) -> list:
        return [[self.cond_stage_model.encode_token_weights(tokens)[0], {"pooled_output": None}]]


def make_patcher(network: nn.Module) -> Any:
    """A patcher for a VAE, in a wrapper because ModelPatcher sets attributes that diffusers' models do not allow."""
    management = comfy("comfy.model_management")
    shell = nn.Module()
    shell.network = network
    if management is None:
        return Patcher(shell, torch.device("cpu"))
    return required("comfy.model_patcher").ModelPatcher(
        shell, load_device=management.vae_device(), offload_device=management.vae_offload_device()
    )
