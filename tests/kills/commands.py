"""The commands that are killed: every one that writes, on networks so small that it takes a second."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from support.training_family import make_family

from lavie.video import write_video

SAMPLED = " --model model --steps 1 --device cpu --dtype float32 --quiet"
CASCADE = " --no-interpolate --no-upscale" + SAMPLED
SEGMENTS = " --segment 8 --window 4 --overlap 2" + SAMPLED
TRAINED = " --images images --run run --steps 2 --save-every 1 --batch 1 --warmup 0 --device cpu"
EXTENDED = " --frames 8 --method replacement" + SAMPLED


@dataclass(frozen=True)
class Command:
    """results: the files and folders that it makes. older: those that are there before."""

    line: str
    results: tuple[str, ...]
    older: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        return self.line.split()


COMMANDS = {
    "generate": Command("generate ball -o out.mp4" + CASCADE, ("out.mp4",), ("out.mp4",)),
    "generate --video": Command("generate ball --video in.mp4 --strength 1 -o out/" + CASCADE, ("out",), ("out",)),
    "interpolate": Command("interpolate in -o out/" + SEGMENTS, ("out",)),
    "upscale": Command("upscale in -o out/big_%02d.png" + SEGMENTS, ("out",), ("out",)),
    "extend": Command("extend ball --video first -o out.mov" + EXTENDED, ("out.mov",)),
    "convert": Command("convert network.safetensors new.safetensors --dtype float16", ("new.safetensors",)),
    "train lora": Command(
        "train lora --family model --trigger zorb --lora-rank 2 --output lora.safetensors" + TRAINED,
        ("lora.safetensors",),
    ),
    "train base": Command(
        "train base --family model" + TRAINED, ("model/base/model.safetensors", "model/base/config.json")
    ),
}


def make_world(folder: Path) -> Path:
    """A family, videos, images with captions, and a network to convert."""
    make_family(folder / "model", ("base", "interpolation", "upscaler"))
    shutil.copy(folder / "model" / "base" / "model.safetensors", folder / "network.safetensors")
    frames = np.random.default_rng(0).integers(0, 255, (10, 16, 24, 3)).astype(np.uint8)
    write_video(f"{folder}/in/", frames, 8, {"prompt": "a ball"})
    for name in ("in.mp4", "first/"):
        write_video(f"{folder}/{name}", frames[:3], 8, {"prompt": "a ball"})
    (folder / "images").mkdir()
    for index in range(2):
        Image.fromarray(frames[index]).save(folder / "images" / f"{index}.png")
        (folder / "images" / f"{index}.txt").write_text("zorb, a ball")
    return folder


def copy_of(world: Path, command: Command, folder: Path) -> Path:
    """The world anew, with older results where the command has them; the family itself where it is only read."""
    shutil.copytree(world, folder, ignore=shutil.ignore_patterns("model"))
    if any(result.startswith("model/") for result in command.results):
        shutil.copytree(world / "model", folder / "model")
    else:
        (folder / "model").symlink_to(world / "model")
    for name in command.older:
        if Path(name).suffix:
            (folder / name).write_bytes(b"older")
        else:
            shutil.copytree(world / "in", folder / name)
            (folder / name / "metadata.json").unlink()
            for file in (folder / name).iterdir():
                file.rename(file.with_name(file.name.replace("frame_000", _prefix(command))))
    return folder


def _prefix(command: Command) -> str:
    return "big_" if "big_" in command.line else "frame_000"
