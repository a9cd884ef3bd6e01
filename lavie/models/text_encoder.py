"""CLIP text encoders (transformers): ViT-L/14 of Stable Diffusion 1.x and OpenCLIP ViT-H of the ×4 upscaler."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import written_whole
from ..bounded import either, nothing, read_json, read_text, real, require_fields, whole, word
from ..errors import LavieError, UsageError
from .prompt import Token, parse_weights, split_chunks
from .restore import read_folder, restore

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

CLIP_L = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "max_position_embeddings": 77,
    "layer_norm_eps": 1e-5,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
# The last of ViT-H's 24 layers is left out: last_hidden_state is the penultimate layer after the final norm.
OPENCLIP_H = CLIP_L | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 512,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}

_TOKEN = either(nothing, whole(-1, 1 << 20))
_RULES = {
    "vocab_size": whole(1, 1 << 20),
    **dict.fromkeys(("hidden_size", "projection_dim", "max_position_embeddings"), whole(1, 16_384)),
    "intermediate_size": whole(1, 65_536),
    "num_hidden_layers": whole(1, 128),
    "num_attention_heads": whole(1, 1024),
    "hidden_act": word("quick_gelu", "gelu", "gelu_new", "relu", "silu"),
    "layer_norm_eps": real(0, 1),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), _TOKEN),
}

PREFIX = "text_model."  # before every name in released files; transformers 5 leaves it out
POSITION_IDS = "embeddings.position_ids"  # a buffer in files of transformers < 4.31, always 0, 1, 2, …


class TextEncoder:
    """A tokenizer with its text model: prompts to embeddings."""

    def __init__(self, tokenizer: CLIPTokenizer, model: CLIPTextModel) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.length = model.config.max_position_embeddings

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TextEncoder:
        """Moves the model; returns itself."""
        self.model.to(device=device, dtype=dtype)  # pyright: ignore[reportCallIssue] (transformers wraps it untyped)
        return self

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], layer: int | None = None) -> Tensor:
        """Embeddings [prompts, 77 × chunks, width] of prompts in ComfyUI's syntax (see `parse_weights`).

        A prompt of more than 75 tokens takes several chunks; shorter ones of the same call are filled up with
        empty chunks. The last hidden states (or see `layer` of `embed`) after the final norm, on the model's
        device and in its dtype.
        """
        return self.embed(*self.tokenize(prompts), layer=layer)

    def tokenize(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token numbers (int64) and weights (float32) of prompts, both [prompts, chunks, 77]."""
        prompts = [prompts] if isinstance(prompts, str) else prompts
        divided = [split_chunks(self._tokens(prompt), self.length - 2) for prompt in prompts]
        count = max((len(chunks) for chunks in divided), default=1)
        rows = [[self._row(chunk) for chunk in chunks + [[]] * (count - len(chunks))] for chunks in divided]
        numbers, weights = (
            torch.tensor([[row[i] for row in chunks] for chunks in rows], dtype=dtype)
            for i, dtype in enumerate((torch.int64, torch.float32))
        )
        return numbers, weights

    def embed(self, numbers: Tensor, weights: Tensor | None = None, layer: int | None = None) -> Tensor:
        """Embeddings of `tokenize`'s answer, with gradients where they are enabled.

        A weight scales a token's distance from the token in its place of the empty prompt, as in ComfyUI's
        sd1_clip.py; where it is 1 the embedding is exactly the model's.

        Args:
            layer: which layer's states to take, from −1, the last, to minus the number of layers (clip skip).

        Raises:
            UsageError: there is no such layer.
        """
        device = self.model.device
        states = self._states(numbers.flatten(0, 1).to(device), layer).unflatten(0, numbers.shape[:2])
        if weights is not None and (weights != 1).any():
            empty = torch.tensor([self._row([])[0]], device=device)
            empty = self._states(empty, layer).expand_as(states)
            weights = weights.to(device)[..., None].expand_as(states)
            states = torch.lerp(empty.float(), states.float(), weights).to(states.dtype)
        return states.flatten(1, 2)

    def _states(self, numbers: Tensor, layer: int | None) -> Tensor:
        """A layer's hidden states [chunks, 77, width] after the final norm, of token numbers [chunks, 77]."""
        if layer in (None, -1):
            return self.model(numbers).last_hidden_state
        count = self.model.config.num_hidden_layers
        if not -count <= layer <= -1:
            raise UsageError(f"This text encoder has {count} layers: choose one from -{count} to -1, not {layer}.")
        states = self.model(numbers, output_hidden_states=True).hidden_states[layer]
        return getattr(self.model, "text_model", self.model).final_layer_norm(states)

    def _tokens(self, prompt: str) -> list[Token]:
        prompt = prompt.encode("utf-8", "replace").decode("utf-8")  # lone surrogates of undecodable arguments
        tokens = []
        for text, weight in parse_weights(prompt):
            numbers = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            pieces = self.tokenizer.convert_ids_to_tokens(numbers)
            tokens += [Token(number, piece, weight) for number, piece in zip(numbers, pieces, strict=True)]
        return tokens

    def _row(self, chunk: list[Token]) -> tuple[list[int], list[float]]:
        """One chunk between start and end token, filled up with the tokenizer's padding."""
        filling = self.length - 2 - len(chunk)
        numbers: list[Any] = [self.tokenizer.bos_token_id, *(token.id for token in chunk), self.tokenizer.eos_token_id]
        weights = [1.0, *(token.weight for token in chunk), 1.0]
        return numbers + [self.tokenizer.pad_token_id] * filling, weights + [1.0] * filling


def load_text_encoder(
    source: str | Path | Mapping[str, Tensor],
    tokenizer: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    padding: str | None = None,
) -> TextEncoder:
    """A text encoder from a transformers folder or a state dict, in evaluation mode, with its tokenizer.

    Args:
        source: a folder with config.json and weights, or named tensors, with or without `text_model.`.
        tokenizer: folder of the tokenizer; by default the one named `tokenizer` beside the source folder.
        config: of transformers' CLIPTextConfig; by default the folder's, or read from the tensors.
        dtype: float32 by default. device: the CPU by default.
        padding: the token that fills up a prompt; by default the tokenizer's own.

    Raises:
        LavieError: a folder or file is missing, or weights, config and tokenizer do not fit each other.
    """
    title = "the text encoder"
    if not isinstance(source, Mapping):
        folder = Path(source)
        title = f"the text encoder in {folder}"
        tokenizer = tokenizer or folder.parent / "tokenizer"
        stored, source = read_folder(folder, "text encoder")
        config = stored if config is None else config
    if tokenizer is None:
        raise LavieError(
            "A text encoder needs its tokenizer, which single-file checkpoints do not hold: name a folder with "
            "vocab.json and merges.txt, for example stable-diffusion-v1-4/tokenizer."
        )
    model = load_text_model(source, config, dtype, device, title)
    return TextEncoder(load_tokenizer(tokenizer, model.config.vocab_size, padding), model)


def load_text_model(
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    title: str = "the text encoder",
) -> CLIPTextModel:
    """The model alone, from named tensors; `config` may be left out for the two released encoders."""
    from transformers import CLIPTextConfig, CLIPTextModel  # takes seconds, which importing LaVie should not

    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    tensors.pop(POSITION_IDS, None)
    given = text_config(tensors) if config is None else {name: config[name] for name in CLIP_L if name in config}
    require_fields(given, _RULES, f"The config of {title}")
    settings = {**CLIP_L, **given}
    if settings["hidden_size"] % settings["num_attention_heads"]:
        raise LavieError(f"The config of {title}: its width does not divide into its heads.")
    settings = CLIPTextConfig.from_dict(given)

    def build() -> CLIPTextModel:
        return CLIPTextModel(settings)

    with torch.device("meta"):
        prefix = PREFIX if any(name.startswith(PREFIX) for name in build().state_dict()) else ""
    model = restore(build, {prefix + name: value for name, value in tensors.items()}, title, dtype, device)
    for module in model.modules():
        if "position_ids" in dict(module.named_buffers(recurse=False)):
            module.position_ids = torch.arange(settings.max_position_embeddings, device=model.device)[None]
    return model


def text_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config of one of the two released encoders, recognised by its width and number of layers.

    Raises:
        LavieError: the tensors are those of neither.
    """
    names = [name.removeprefix(PREFIX) for name in tensors]
    layers = len({name.split(".")[2] for name in names if name.startswith("encoder.layers.")})
    tables = [tensors[name] for name in tensors if name.endswith("token_embedding.weight")]
    widths = [table.shape[1] for table in tables if table.ndim == 2]
    for config in (CLIP_L, OPENCLIP_H):
        if widths == [config["hidden_size"]] and layers == config["num_hidden_layers"]:
            return dict(config)
    found = f"{layers} layers of width {widths[0]}" if widths else "no token embedding"
    raise LavieError(
        f"These weights are neither CLIP ViT-L/14 nor the upscaler's OpenCLIP ViT-H but have {found}; "
        "another text encoder needs its config.json."
    )


def load_tokenizer(folder: str | Path, vocab_size: int, padding: str | None = None) -> CLIPTokenizer:
    """The tokenizer in a folder; its own config tells what it pads with, if `padding` does not.

    Raises:
        LavieError: the folder holds no tokenizer, or one with more tokens than `vocab_size`.
    """
    from transformers import CLIPTokenizer

    folder = Path(folder)
    _require_readable_tokenizer(folder)
    if not (folder / "tokenizer.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            if not (folder / name).is_file():
                raise LavieError(f"There is no CLIP tokenizer in {folder}: it holds no {name}.")
    try:
        chosen: dict[str, Any] = {} if padding is None else {"pad_token": padding}
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True, **chosen)  # nosec B615
    except Exception as error:  # transformers and tokenizers raise bare Exceptions for broken files
        raise LavieError(f"The tokenizer in {folder} cannot be read: {error}.") from error
    if len(tokenizer) > vocab_size:
        raise LavieError(
            f"The tokenizer in {folder} has {len(tokenizer)} tokens, its text encoder only {vocab_size}: "
            "they do not belong together."
        )
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        if type(token) is not int or not 0 <= token < vocab_size:
            raise LavieError(f"The tokenizer in {folder} lacks a token for the start, the end or the rest of a prompt.")
    return tokenizer


def _require_readable_tokenizer(folder: Path) -> None:
    """Refuse files that would take transformers forever, or more memory than a tokenizer needs."""
    for name in ("tokenizer.json", "vocab.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).exists():
            read_json(folder / name)
    if (folder / "merges.txt").exists():
        read_text(folder / "merges.txt")


def save_text_model(model: CLIPTextModel, folder: str | Path) -> None:
    """Writes config.json and model.safetensors with the released files' names, for any version of transformers."""
    config = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model"}
    config |= {name: getattr(model.config, name) for name in CLIP_L}
    tensors = {
        PREFIX + name.removeprefix(PREFIX): tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    with written_whole(Path(folder) / "config.json") as partial:
        partial.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    with written_whole(Path(folder) / "model.safetensors") as partial:
        save_file(tensors, partial, metadata={"format": "pt"})
