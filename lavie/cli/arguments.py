"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import BUNDLED, RELEASED, StageConfig, find_family
from ..errors import UsageError
from ..flags import add_flags, for_each, given, number
from ..knobs import knobs_of
from ..stages import STAGES
from .controls import add_control_arguments

if TYPE_CHECKING:
    from ..lora import Lora


def add_making_arguments(parser: argparse.ArgumentParser, stage: str, leave_out: Collection[str] = ()) -> None:
    """What every command has that makes a video. leave_out: settings of the stage that get no flag."""
    add_output_arguments(parser)
    add_sampling_arguments(parser, stage, leave_out)
    if STAGES[stage].takes_loras:
        add_lora_arguments(parser)
    if STAGES[stage].takes_controls:
        add_control_arguments(parser)
    add_model_arguments(parser)
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="Memory limit: 8GB (or 8), 500MB, or auto for what is free. LaVie says what it changes to stay within it. "
        "(default: no limit)",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=BUNDLED,
        help=f"'{BUNDLED}' (bundled), '{RELEASED}' (see: lavie download), or a model folder. (default: {BUNDLED})",
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="Where to run. (default: auto)"
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "float16", "bfloat16"),
        default="auto",
        help="Precision. auto is float16 on a GPU, bfloat16 on a CPU that computes with it (AVX512-BF16), float32 on "
        "others. (default: auto)",
    )


def add_sampling_arguments(parser: argparse.ArgumentParser, stage: str, leave_out: Collection[str]) -> None:
    """--seed, and a flag for every setting of the stage except those in `leave_out`."""
    parser.add_argument(
        "--seed",
        type=number(int, 0, 2**64 - 1),
        default=0,
        metavar="N",
        help="The same seed and settings give the same video. (default: 0)",
    )
    names = [name for name in knobs_of(StageConfig, stage) if name not in leave_out]
    defaults = {**dict.fromkeys(names, "the model's own"), "speed": "exact"}
    add_flags(parser, StageConfig, stage, names, defaults)


def add_lora_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lora",
        dest="loras",
        action="append",
        type=lora_choice,
        default=[],
        metavar="FILE[:STRENGTH[:TEXT_STRENGTH]]",
        help="A LoRA for Stable Diffusion 1.x, or the name of one that comes with the model. Repeatable. (default "
        "strength: 1, the same on the text encoder)",
    )
    parser.add_argument(
        "--lora-blocks",
        action="append",
        default=[],
        metavar="TEXT",
        help="Strength per block: 'IN=0.3, OUT05=1, OTHER=0', a preset (OUTALL, …), or 17 or 26 numbers. Give it once "
        "for all LoRAs, or once for each.",
    )
    parser.add_argument(
        "--lora-steps",
        action="append",
        default=[],
        metavar="TEXT",
        help="Strength over the steps, from 0 (noise) to 1 (done): '0: 0.2, 0.5: 1', LATE (keeps the model's own "
        "motion) or EARLY. Give it once for all LoRAs, or once for each.",
    )


def chosen_loras(args: argparse.Namespace) -> list[Lora]:
    """The LoRAs of --lora, read. A name that is no file is looked up among those that come with the model."""
    from ..lora import Lora

    folder = find_family(args.model).folder / "loras"
    loras = []
    blocks, steps = (for_each(args, option, "loras", "LoRAs") for option in ("lora_blocks", "lora_steps"))
    for index, (file, *strengths) in enumerate(args.loras):
        bundled = [folder / file, folder / f"{file}.safetensors"]
        path = next((path for path in (Path(file), *bundled) if path.exists()), None)
        if path is None:
            known = ", ".join(sorted(found.stem for found in folder.glob("*.safetensors")))
            beside = f", nor one that comes with {args.model} ({known})" if known else ""
            raise UsageError(f"--lora: there is no file {file}{beside}.")
        loras.append(Lora.read(path, *strengths, blocks=blocks[index], steps=steps[index]))
    return loras


def lora_choice(text: str) -> tuple:
    """'x.safetensors:0.8:0.5' → ('x.safetensors', 0.8, 0.5); a colon within the path is kept."""
    parts = text.split(":")
    strengths: list[float] = []
    while len(parts) > 1 and len(strengths) < 2:
        try:
            strengths.insert(0, float(parts[-1]))
        except ValueError:
            break
        parts.pop()
    if not ":".join(parts):
        raise argparse.ArgumentTypeError(f"'{text}' names no file; write FILE or FILE:STRENGTH")
    return (":".join(parts), *strengths)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="clip.mp4, .mov, .mkv, .webm or .gif, or PNG frames as folder/ or name_%%04d.png. Replaced only once the "
        "new one is complete.",
    )
    parser.add_argument("--quiet", action="store_true", help="Show no progress.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def add_resize_argument(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--resize",
        choices=("refuse", "crop", "stretch"),
        default="refuse",
        help=f"Bring {what}: crop keeps the proportions, stretch the whole image. (default: refuse another size)",
    )


def sampling_settings(args: argparse.Namespace, stage: str) -> dict[str, Any]:
    """The sampling arguments under the names of the pipelines' keywords, without those left out."""
    return {"seed": args.seed, **given(args, StageConfig, stage)}


def check_schedule(args: argparse.Namespace, stage: str, strength: float = 1.0) -> None:
    """Refuse an impossible scheduler, spacing, number of steps or strength before any model loads."""
    asked = given(args, StageConfig, stage)
    if strength == 1 and not {"scheduler", "spacing", "num_inference_steps"} & set(asked):
        return
    from ..job import schedule_of

    schedule_of(find_family(args.model).stage(stage).configured(stage, **asked), strength)


def size_settings(args: argparse.Namespace) -> dict[str, int]:
    """Height and width, where --size is given."""
    return dict(zip(("height", "width"), args.size or (), strict=False))
