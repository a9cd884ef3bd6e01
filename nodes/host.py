"""All that touches ComfyUI: model folders, devices and memory, native MODEL and CLIP, progress, previews, Cancel.

ComfyUI is imported inside functions only, so that the nodes can be imported, and run, without it: `Patcher`
then stands in for its ModelPatcher. Where a future host lacks something, the log says what is off.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..lavie.errors import UsageError
from ..lavie.models.text_encoder import TextEncoder
from ..lavie.runtime.fallback import SLICE_ELEMENTS
from ..lavie.runtime.memory import activation_bytes
from .adapters import GraphText, GraphTokenizer, GraphUNet, StageInfo

if TYPE_CHECKING:
    from ..lavie.models import VideoUNet
    from ..lavie.runtime.fallback import Attempt
    from ..lavie.sampling import TextCondition

log = logging.getLogger(__name__)

LAVIE = "lavie"  # the key of models/lavie in folder_paths and extra_model_paths.yaml
UNET_FOLDERS = (LAVIE, "diffusion_models", "diffusers")
FILES = (".safetensors", ".sft", ".pt", ".pth", ".ckpt", ".bin")
PREVIEW_SIZE = 512
PARTS = ("vae", "text_encoder", "tokenizer")  # folders beside the released UNets that hold no UNet

Result = TypeVar("Result")


def comfy(name: str) -> ModuleType | None:
    """A module of the host, or None where there is no ComfyUI."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in ("comfy", "folder_paths", "latent_preview"):
            raise
        return None


# ------------------------------------------------------------------------------------------------ files


def register_folders() -> None:
    """Make models/lavie known to ComfyUI, beside what extra_model_paths.yaml may have added."""
    paths = comfy("folder_paths")
    if paths is not None:
        paths.add_model_folder_path(LAVIE, os.path.join(paths.models_dir, LAVIE), is_default=True)
        paths.folder_names_and_paths[LAVIE][1].update(FILES)


def folders(key: str) -> list[Path]:
    """The folders that ComfyUI searches for one kind of model."""
    paths = comfy("folder_paths")
    if paths is None or key not in paths.folder_names_and_paths:
        return []
    return [Path(folder) for folder in paths.get_folder_paths(key)]


def files(key: str) -> list[str]:
    """Names of the weight files, and of the folders that hold a model, below the folders of one kind of model."""
    paths = comfy("folder_paths")
    if paths is None or key not in paths.folder_names_and_paths:
        return []
    names = [] if key == "diffusers" else paths.get_filename_list(key)  # the host lists only whole pipelines there
    marks = ("family.json", "config.json")
    found = (mark.parent.name for folder in folders(key) for name in marks for mark in folder.glob(f"*/{name}"))
    weights = {name for name in names if Path(name).suffix in FILES and Path(name).parent.name not in PARTS}
    return sorted(weights | {name for name in found if name not in PARTS})


def find_file(key: str, name: str) -> Path:
    """The file or folder of that name below the folders of one kind of model.

    Raises:
        UsageError: there is none, or the name leads out of the folders.
    """
    if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
        raise UsageError(f"'{name}' leads out of the models folder. Choose a file from the list.")
    for folder in folders(key):
        if (folder / name).exists():
            return folder / name
    raise UsageError(f"There is no file '{name}' in the folder models/{key}. Choose another, or put it there.")


def output_folder() -> Path:
    """Where the host puts what it makes."""
    paths = comfy("folder_paths")
    return Path("output") if paths is None else Path(paths.get_output_directory())


def loras_folder() -> Path:
    """Where a new LoRA belongs: the first of the host's folders for them."""
    found = folders("loras")
    return found[0] if found else Path("models/loras")


# ------------------------------------------------------------------------------------------------ devices and memory


class Patcher:
    """What LaVie's nodes need of a ModelPatcher, where there is no ComfyUI."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model
        self.load_device = self.offload_device = device


def compute_device() -> torch.device:
    management = comfy("comfy.model_management")
    return torch.device("cpu") if management is None else management.get_torch_device()


def storage_device() -> torch.device:
    """Where IMAGE and LATENT belong."""
    management = comfy("comfy.model_management")
    return torch.device("cpu") if management is None else management.intermediate_device()


def unet_dtype(parameters: int) -> torch.dtype:
    """The precision that the host's flags and the card ask for."""
    management = comfy("comfy.model_management")
    if management is None:
        return torch.float32
    device = management.get_torch_device()
    dtype = management.unet_dtype(device=device, model_params=parameters)
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        log.warning("LaVie does not store weights as %s; float16 is used.", dtype)
        dtype = torch.float16
    return management.unet_manual_cast(dtype, device) or dtype


def text_dtype() -> torch.dtype:
    management = comfy("comfy.model_management")
    if management is None or management.text_encoder_device().type == "cpu":
        return torch.float32
    dtype = management.text_encoder_dtype(management.text_encoder_device())
    return dtype if dtype in (torch.float32, torch.float16, torch.bfloat16) else torch.float16


def vae_dtype() -> torch.dtype:
    management = comfy("comfy.model_management")
    if management is None:
        return torch.float32
    return management.vae_dtype(management.vae_device(), [torch.bfloat16, torch.float32])


def load(patcher: Any, memory: float = 0) -> torch.device:
    """Bring a network to its device by the host's rules, with room for `memory` bytes of work beside it."""
    check_interrupt()
    management = comfy("comfy.model_management")
    if management is None or isinstance(patcher, Patcher):
        patcher.model.to(patcher.load_device)
    else:
        management.load_models_gpu([patcher], memory_required=memory)
    return patcher.load_device


def out_of_memory() -> tuple[type[BaseException], ...]:
    management = comfy("comfy.model_management")
    return (torch.cuda.OutOfMemoryError, *(() if management is None else (management.OOM_EXCEPTION,)))


def free_cache() -> None:
    management = comfy("comfy.model_management")
    if management is not None:
        management.soft_empty_cache()


def free_models() -> None:
    """Take the host's networks off the device, for what needs all of it."""
    management = comfy("comfy.model_management")
    if management is not None:
        management.unload_all_models()
        management.soft_empty_cache()


def first_that_fits(
    attempts: Iterable[Attempt], run: Callable[[Attempt], Result], advice: str, unet: VideoUNet
) -> Result:
    """Run the first attempt that memory allows, the UNet in slices where it says so; every change is told in the log.

    Raises:
        torch.cuda.OutOfMemoryError: none fits; the message says what to lower, and the host unloads its models.
    """
    for attempt in attempts:
        if attempt.note:
            log.warning("LaVie ran out of memory: %s", attempt.note)
        unet.slice_elements = SLICE_ELEMENTS if attempt.sliced else None
        try:
            return run(attempt)
        except out_of_memory():
            pass
        finally:
            unet.slice_elements = None
        free_cache()  # after the exception is gone, and with it the tensors that it holds
    raise torch.cuda.OutOfMemoryError(f"LaVie ran out of memory, even in its smallest steps. {advice}")


# ------------------------------------------------------------------------------------------------ progress and Cancel


def check_interrupt() -> None:
    """Raise the host's own exception if the user pressed Cancel."""
    management = comfy("comfy.model_management")
    if management is not None:
        management.throw_exception_if_processing_interrupted()


def interruption() -> tuple[type[BaseException], ...]:
    """What the host raises when the user pressed Cancel."""
    management = comfy("comfy.model_management")
    return () if management is None else (management.InterruptProcessingException,)


@contextlib.contextmanager
def cancellable(unet: nn.Module) -> Iterator[None]:
    """While it lasts, Cancel acts between the blocks of the UNet, not only between its calls."""
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    hooks = [block.register_forward_pre_hook(lambda *_: check_interrupt()) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Progress:
    """Progress of one node through its phases (encode, sample, decode), with previews by the host's previewer.

    Every report also obeys Cancel.
    """

    def __init__(self, model: Any = None) -> None:
        self._model = model
        self._base = self._done = self._total = 0
        self._phase = ""
        self._preview: Callable[..., None] | None = None

    def step(self, stage: str, done: int, total: int, timestep: float = 0.0, x0: Tensor | None = None) -> None:
        """As `lavie.pipelines.Callback`: `done` of `total` in the phase named `stage`."""
        check_interrupt()
        utils = comfy("comfy.utils")
        if utils is None:
            return
        if stage != self._phase:
            self._phase, self._base = stage, self._base + self._total
        self._total = total
        done, total = self._base + done, self._base + total
        if x0 is None:
            utils.ProgressBar(total).update_absolute(done, total)
        else:
            self._previewer(total)(done - 1, x0, None, total)

    def picture(self, done: int, total: int, pixels: np.ndarray) -> None:
        """A picture, uint8 [height, width, 3], as the node's preview; `done` of `total` in the phase that is on."""
        utils = comfy("comfy.utils")
        if utils is not None:
            from PIL import Image

            done, total = self._base + done, self._base + total
            utils.ProgressBar(total).update_absolute(done, total, ("JPEG", Image.fromarray(pixels), PREVIEW_SIZE))

    def frames(self, phase: str) -> Callable[[int, int], None]:
        """A callback (frames done, frames in all) for a phase that counts frames."""
        return lambda done, total: self.step(phase, done, total)

    def _previewer(self, total: int) -> Callable[..., None]:
        if self._preview is None:
            module = comfy("latent_preview")
            native = module is not None and not isinstance(self._model, (Patcher, type(None)))
            self._preview = module.prepare_callback(self._model, total) if native else self._bar
        return self._preview

    @staticmethod
    def _bar(step: int, _x0: Tensor, _x: None, total: int) -> None:
        comfy("comfy.utils").ProgressBar(total).update_absolute(step + 1, total)


# ------------------------------------------------------------------------------------------------ MODEL, CLIP, patches


def make_model(unet: nn.Module, info: StageInfo) -> Any:
    """A MODEL: ComfyUI's ModelPatcher around its BaseModel around the UNet."""
    unet = GraphUNet.adopt(unet)
    if comfy("comfy.model_base") is not None:
        try:
            return _native_model(unet, info)
        except (ImportError, AttributeError, TypeError) as lack:
            log.warning("This ComfyUI lacks what a native MODEL needs (%s): core samplers and LoRA are off.", lack)
    shell = nn.Module()
    shell.diffusion_model, shell.lavie = unet, info
    return Patcher(shell, compute_device())


def _native_model(unet: GraphUNet, info: StageInfo) -> Any:
    base, management = comfy("comfy.model_base"), comfy("comfy.model_management")
    _use_host_layers(unet)

    class LaVie(base.BaseModel):
        lavie = info

        def memory_required(self, input_shape: Any, cond_shapes: Any = None) -> float:
            return activation_bytes(self.diffusion_model, input_shape)

    model = LaVie(_native_config(unet, info), _model_type(base, info))
    model.diffusion_model = unet
    if info.config.prediction_type == "sample":
        model.model_sampling = _clean_sampling(model.model_config)
    return comfy("comfy.model_patcher").ModelPatcher(
        model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )


def _native_config(unet: GraphUNet, info: StageInfo) -> Any:
    """ComfyUI's "sqrt_linear" betas are LaVie's truly linear ones; its "linear" is diffusers' scaled_linear."""

    class LaVieConfig(comfy("comfy.supported_models_base").BASE):
        sampling_settings = {"beta_schedule": "sqrt_linear", "linear_start": 1e-4, "linear_end": 2e-2}  # noqa: RUF012

    width = unet.config.block_out_channels[0]
    config = LaVieConfig({"disable_unet_model_creation": True, "model_channels": width})
    config.set_inference_dtype(unet.dtype, None)
    config.latent_format = latent_format(info)
    return config


def _model_type(base: ModuleType, info: StageInfo) -> Any:
    return base.ModelType.V_PREDICTION if info.config.prediction_type == "v_prediction" else base.ModelType.EPS


def _clean_sampling(config: Any) -> Any:
    """ComfyUI has no ModelType for networks that predict the clean latents, but the two halves of one."""
    sampling = comfy("comfy.model_sampling")

    class ModelSampling(sampling.ModelSamplingDiscrete, sampling.X0):
        pass

    return ModelSampling(config)


def latent_format(info: StageInfo) -> Any:
    """The scale of the stage's latents and the colours of its previews; three dimensions, no TAESD (it is 2-D)."""
    formats = comfy("comfy.latent_formats")
    chosen = formats.SD_X4() if info.stage == "upscaler" else formats.SD15()
    chosen.latent_dimensions = 3
    chosen.taesd_decoder_name = None
    chosen.scale_factor = info.scaling_factor
    if info.config.latent_rgb_factors:
        *factors, bias = info.config.latent_rgb_factors
        chosen.latent_rgb_factors = [list(row) for row in factors]
        chosen.latent_rgb_factors_bias = list(bias)
    return chosen


def _use_host_layers(unet: nn.Module) -> None:
    """Give every plain layer the host's class of its kind, which can be loaded in part (low VRAM)."""
    layers = comfy("comfy.ops").disable_weight_init
    kinds = {nn.Linear: layers.Linear, nn.Conv2d: layers.Conv2d, nn.GroupNorm: layers.GroupNorm}
    kinds[nn.LayerNorm] = layers.LayerNorm
    made: dict[type, type] = {}
    for module in unet.modules():
        own = type(module)
        kind = next((kind for kind in kinds if isinstance(module, kind)), None)
        if kind is None or isinstance(module, kinds[kind]):
            continue
        if own not in made:
            made[own] = kinds[kind] if own is kind else type(own.__name__, (own, kinds[kind]), {})
        module.__class__ = made[own]


SAMPLER_PATCHES = ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function")


def network(model: Any, text: TextCondition, batch: int = 1) -> Callable[..., Tensor]:
    """The UNet of a MODEL with the patches that nodes have put on it; what only core samplers can do is told."""
    options = getattr(model, "model_options", {})
    unused = [name for name in (*SAMPLER_PATCHES, "model_function_wrapper") if options.get(name)]
    for name in (*unused, *getattr(model, "object_patches", ())):
        log.warning("A patch of this MODEL (%s) works with the core KSampler only; it has no effect here.", name)
    unet, patches = model.model.diffusion_model, options.get("transformer_options", {})
    if not patches:
        return unet

    def patched(sample: Tensor, timestep: Tensor, states: Tensor, **labels: Any) -> Tensor:
        # Of the first clip and, where each frame has a text of its own, the first frame.
        negative = torch.equal(states.flatten(0, -3)[0].cpu(), text.negative.flatten(0, -3)[0].cpu())
        halves = [1, 0] if len(sample) > batch else [1] if negative else [0]  # the host's marks: 0 is positive
        return unet(sample, timestep, states, **labels, transformer_options={**patches, "cond_or_uncond": halves})

    patched.config, patched.dtype = unet.config, unet.dtype
    return patched


def make_clip(encoder: TextEncoder, info: StageInfo) -> Any:
    """A CLIP: ComfyUI's own class around LaVie's tokenizer and text encoder."""
    text, tokenizer = GraphText(encoder, info), GraphTokenizer(encoder)
    sd = comfy("comfy.sd")
    if sd is not None:
        try:
            target = SimpleNamespace(params={}, clip=lambda **_: text, tokenizer=lambda **_: tokenizer)
            return sd.CLIP(target, model_options={"dtype": encoder.model.dtype})
        except (AttributeError, TypeError) as lack:
            log.warning("This ComfyUI lacks what a native CLIP needs (%s): core text nodes are off.", lack)
    return PlainClip(text, tokenizer)


class PlainClip:
    """The two methods of ComfyUI's CLIP that LaVie's nodes call, where that class is missing."""

    def __init__(self, text: GraphText, tokenizer: GraphTokenizer) -> None:
        self.cond_stage_model, self.tokenizer = text, tokenizer

    def tokenize(self, text: str) -> dict[str, list]:
        return self.tokenizer.tokenize_with_weights(text)

    def encode_from_tokens_scheduled(self, tokens: dict[str, list]) -> list:
        return [[self.cond_stage_model.encode_token_weights(tokens)[0], {"pooled_output": None}]]


def make_patcher(network: nn.Module) -> Any:
    """A patcher for a VAE, in a shell because ModelPatcher sets attributes that diffusers' models do not allow."""
    management = comfy("comfy.model_management")
    shell = nn.Module()
    shell.network = network
    if management is None:
        return Patcher(shell, torch.device("cpu"))
    return comfy("comfy.model_patcher").ModelPatcher(
        shell, load_device=management.vae_device(), offload_device=management.vae_offload_device()
    )
