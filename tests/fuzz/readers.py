"""Every reader of strangers' files: what it is given to begin with, how that is changed, and how it is read."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from support.checkpoint_files import SMALL, small
from support.rows import Rows

from lavie.bounded import parse_json
from lavie.checkpoints import describe, load_unet, read_state_dict
from lavie.checkpoints.stored import CONFIG_KEY
from lavie.config import BUNDLED, RELEASED_STAGES, StageConfig, find_family
from lavie.lora import Lora
from lavie.lora.delta import changed
from lavie.models.config import UNetConfig
from lavie.models.text_encoder import CLIP_L, load_text_model
from lavie.models.vae import load_vae
from lavie.sampling.prompt_schedule import PromptSchedule
from lavie.training.assemble import read_curriculum
from lavie.training.data import Precomputed, write_precomputed
from lavie.training.data.clip import ClipRequest
from lavie.training.data.decode import read_clip, read_image
from lavie.training.data.files import remembered
from lavie.training.data.filters import DataReport, Filters
from lavie.training.data.shard_index import index_shard
from lavie.training.data.table import read_table
from lavie.training.lora.data import kept_latents
from lavie.video import count_frames, iter_video, probe_video, read_metadata, write_video

from .mutants import bytes_mutant, json_mutant, safetensors_mutant, text_mutant, torch_mutant

REQUEST = ClipRequest(2, 16, 16)


@dataclass(frozen=True)
class Reader:
    """share: of the mutants; suffix: of the file; seed: its whole content; mutate, read: what is done with it."""

    share: int
    suffix: str
    seed: Callable[[], Any]
    mutate: Callable[[Any, Random], bytes]
    read: Callable[[Path], object]


def weights() -> dict[str, torch.Tensor]:
    """A few tensors that make a file seem a LaVie UNet, a VAE or a text encoder."""
    block = "mid_block.attentions.0.transformer_blocks.0"
    names = ["conv_out.weight", "down_blocks.0.resnets.0.conv1.weight", f"{block}.attn_temp.to_q.weight"]
    names += [f"{block}.attn2.to_k.weight", "mid_block.attentions.0.proj_in.weight", "decoder.conv_in.weight"]
    names += ["encoder.conv_in.weight", "embeddings.token_embedding.weight", f"{block}.attn_temp.rotary_emb.freqs"]
    return {"conv_in.weight": torch.ones(4, 4, 3, 3), **{name: torch.ones(4, 4) for name in names}}


def lora() -> dict[str, torch.Tensor]:
    layer = "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    other = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_k"
    tensors = {f"{layer}.lora_A.weight": torch.ones(2, 8), f"{layer}.lora_B.weight": torch.ones(8, 2)}
    tensors |= {f"{other}.hada_w{n}_{p}": torch.ones((8, 2) if p == "a" else (2, 8)) for n in (1, 2) for p in "ab"}
    return tensors | {f"{other}.alpha": torch.tensor(2.0), f"{other}.dora_scale": torch.ones(8, 1)}


@cache
def _unet() -> bytes:
    """A whole small UNet with its config."""
    network = small()
    tensors = {name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}
    return save(tensors, {CONFIG_KEY: json.dumps(SMALL)})


def _saved(content: Any) -> bytes:
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


def _with_metadata() -> bytes:
    config = {"r": 2, "lora_alpha": 4, "alpha_pattern": {"to_q": 3}, "rank_pattern": {"to_k": 2}}
    return save(lora(), {"lora_adapter_metadata": json.dumps(config)})


def _read_weights(path: Path) -> None:
    read_state_dict(path)
    describe(path)
    load_unet(path)


def _read_lora(path: Path) -> None:
    for parts in Lora.read(path).layers.values():
        changed(torch.zeros(8, 8), parts, 1.0)


def _read_unet_config(path: Path) -> None:
    UNetConfig.from_dict(parse_json(path.read_text("utf-8", "replace"), "The config"))


@cache
def _tiny(part: str) -> dict[str, torch.Tensor]:
    folder = find_family(BUNDLED).folder / part
    return read_state_dict(next(folder.glob("*.safetensors")))


def _tiny_config(part: str) -> dict[str, Any]:
    return json.loads((find_family(BUNDLED).folder / part / "config.json").read_text())


def _read_vae_config(path: Path) -> None:
    load_vae(_tiny("vae"), parse_json(path.read_text("utf-8", "replace"), "The config"))


def _read_text_config(path: Path) -> None:
    load_text_model(_tiny("text_encoder"), parse_json(path.read_text("utf-8", "replace"), "The config"))


def _family() -> dict[str, Any]:
    return json.loads((find_family(BUNDLED).folder / "family.json").read_text())


def _read_family(path: Path) -> None:
    family = path.parent / "family.json"
    path.replace(family)
    find_family(path.parent)


def _read_stage(path: Path) -> None:
    StageConfig.from_dict(parse_json(path.read_text("utf-8", "replace"), "The stage"))


def _stage() -> dict[str, Any]:
    return {name: value for name, value in vars(RELEASED_STAGES["base"]).items() if name != "speed"}


def _image() -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(target, "PNG", pnginfo=None)
    return target.getvalue()


def _read_image(path: Path) -> None:
    read_image("an image", path, ClipRequest(1, 16, 16), torch.Generator())


def _read_sequence(path: Path) -> None:
    folder = path.parent / "frames"
    folder.mkdir()
    path.replace(folder / "frame_00000.png")
    probe_video(folder)
    list(iter_video(folder, 4))


def _note() -> dict[str, Any]:
    return {"fps": 8.0, "metadata": {"prompt": "a cat", "seed": 3}}


def _read_note(path: Path) -> None:
    folder = path.parent / "frames"
    folder.mkdir()
    (folder / "frame_00000.png").write_bytes(_image())
    path.replace(folder / "metadata.json")
    probe_video(folder)


def _known() -> dict[str, Any]:
    facts = {"stamp": [900, 10**18], "frames": 20, "rate": 24.0, "height": 48, "width": 64, "scenes": [[0, 0.5]]}
    return {"a.mp4": facts, "b.mp4": {"stamp": [0, 10**18], "broken": "it is empty"}}


def _read_known(path: Path) -> None:
    for fact in remembered(path).values():
        if "broken" not in fact:
            assert fact["frames"] / fact["rate"] + fact["height"] * fact["width"] > 0
            assert all(start + end >= 0 for start, end in fact.get("scenes", []))


CLIPS = Rows("clips", 3, broken={1})


@cache
def _precomputed() -> tuple[bytes, bytes]:
    """Note and shard."""

    def encode(clips):
        return [{"latents": clip.tensors["video"][:, :, ::8, ::8]} for clip in clips]

    with tempfile.TemporaryDirectory() as folder:
        write_precomputed(CLIPS, REQUEST, encode, Path(folder))
        return (Path(folder) / "precomputed.json").read_bytes(), (Path(folder) / "00000.safetensors").read_bytes()


def _read_precomputed(path: Path) -> None:
    folder = path.parent / "precomputed"
    folder.mkdir()
    (folder / "precomputed.json").write_bytes(_precomputed()[0])
    (folder / "00000.safetensors").write_bytes(_precomputed()[1])
    path.replace(folder / ("precomputed.json" if path.suffix == ".json" else "00000.safetensors"))
    stored = Precomputed(CLIPS, folder)
    for row in range(len(stored)):
        stored.read(row, ClipRequest(1, 8, 8), torch.Generator())


def _prior() -> bytes:
    return save({"latents": torch.zeros(1, 4, 1, 2, 2)}, {"asked": "a cat"})


def _tar() -> bytes:
    target = io.BytesIO()
    files = {"a.png": _image(), "a.txt": b"a cat", "b.png": _image(), "b.json": b'{"caption": "a dog", "width": 16}'}
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(content), {"comment": "x"}
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


@cache
def _video(suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), np.uint8)
        write_video(Path(folder) / f"a{suffix}", frames, 8, {"prompt": "a cat"})
        return (Path(folder) / f"a{suffix}").read_bytes()


def _read_video(path: Path) -> None:
    probe_video(path)
    list(iter_video(path, 4))
    count_frames(path)


def _read_clip(path: Path) -> None:
    read_clip("a video", path, REQUEST, torch.Generator())


TABLE = 'path,caption,start,end,width,height,aesthetic\na.mp4,a cat,0,1,64,48,5\nb.mp4,"a, dog",,,,,\n'
CURRICULUM = [{"step": 0, "weights": {"a": 1, "b": 2}}, {"step": 10, "weights": {"a": 0.5}}]
PROMPTS = "0: a red ball, 16: a blue star, on a hill\n32: night"

CONFIG = {"suffix": ".json", "mutate": lambda seed, random: json_mutant(seed, random).encode("utf-8", "surrogatepass")}
READERS = {
    "safetensors": Reader(360, ".safetensors", lambda: save(weights(), {"a": "b"}), safetensors_mutant, _read_weights),
    "unet": Reader(100, ".safetensors", _unet, safetensors_mutant, _read_weights),
    "pt": Reader(360, ".pt", lambda: _saved({"ema": weights(), "step": 3}), torch_mutant, _read_weights),
    "lora": Reader(300, ".safetensors", _with_metadata, safetensors_mutant, _read_lora),
    "unet config": Reader(150, seed=lambda: UNetConfig().to_dict(), read=_read_unet_config, **CONFIG),
    "vae config": Reader(12, seed=lambda: _tiny_config("vae"), read=_read_vae_config, **CONFIG),
    "text config": Reader(12, seed=lambda: CLIP_L | _tiny_config("text_encoder"), read=_read_text_config, **CONFIG),
    "family": Reader(150, seed=_family, read=_read_family, **CONFIG),
    "stage": Reader(150, seed=_stage, read=_read_stage, **CONFIG),
    "curriculum": Reader(
        100, seed=lambda: CURRICULUM, read=lambda path: read_curriculum(path, {"a": "A", "b": "B"}), **CONFIG
    ),
    "note": Reader(60, seed=_note, read=_read_note, **CONFIG),
    "known": Reader(60, seed=_known, read=_read_known, **CONFIG),
    "precomputed note": Reader(40, seed=lambda: json.loads(_precomputed()[0]), read=_read_precomputed, **CONFIG),
    "precomputed": Reader(60, ".safetensors", lambda: _precomputed()[1], safetensors_mutant, _read_precomputed),
    "prior": Reader(
        20, ".safetensors", _prior, safetensors_mutant, lambda path: kept_latents(path, "a cat", (1, 4, 1, 2, 2))
    ),
    "prompts": Reader(100, ".txt", lambda: PROMPTS, text_mutant, PromptSchedule.read),
    "table": Reader(100, ".csv", lambda: TABLE, text_mutant, lambda path: read_table(path, DataReport("a table"))),
    "tar": Reader(80, ".tar", _tar, bytes_mutant, lambda path: index_shard(path, Filters())),
    "image": Reader(80, ".png", _image, bytes_mutant, _read_image),
    "sequence": Reader(40, ".png", _image, bytes_mutant, _read_sequence),
    "comment": Reader(30, ".png", _image, bytes_mutant, read_metadata),
    "mp4": Reader(4, ".mp4", lambda: _video(".mp4"), bytes_mutant, _read_video),
    "gif": Reader(4, ".gif", lambda: _video(".gif"), bytes_mutant, _read_video),
    "clip": Reader(12, ".mp4", lambda: _video(".mp4"), bytes_mutant, _read_clip),
}
MUTANTS = sum(reader.share for reader in READERS.values())  # of the default suite
