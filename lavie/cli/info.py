"""Say how a video was made, or what a checkpoint or model folder is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import UsageError, printable
from ..video import count_frames, probe_video
from ..video.sequence import IMAGE_SUFFIXES

HELP = "say how a video was made, or what a checkpoint is"
_CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="A video, a folder of PNG frames, a checkpoint or a model folder.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(args: argparse.Namespace) -> int:
    if _is_model(Path(args.file)):
        from ..checkpoints import describe

        answer = describe(args.file)
    else:
        info, frames = probe_video(args.file), count_frames(args.file)
        measures = {"frames": frames, "height": info.height, "width": info.width, "fps": round(info.fps, 3)}
        answer = {"path": args.file, "kind": "video", **measures, "metadata": info.metadata}
    print(json.dumps(answer) if args.json else printable("\n".join(_lines(answer))))
    return 0


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return not any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir())
    if path.suffix.lower() in _CHECKPOINTS and not path.exists():
        raise UsageError(f"{path} does not exist.")
    return path.suffix.lower() in _CHECKPOINTS


def _lines(answer: dict[str, Any], indent: str = "") -> list[str]:
    """`name: value`, a dictionary's entries under its name."""
    lines = []
    for name, value in answer.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:".replace("\n", "\\n"), *_lines(value, indent + "  ")]
        elif value not in (None, "", [], {}):
            words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            lines.append(f"{indent}{name}: {words}".replace("\n", "\\n"))
    return lines
