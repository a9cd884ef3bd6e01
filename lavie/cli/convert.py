"""Convert a checkpoint to safetensors: a format that holds no code and opens at once."""

from __future__ import annotations

import argparse
import json

HELP = "convert a checkpoint to safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="A checkpoint: .pt, .ckpt, .bin or .safetensors.")
    parser.add_argument("output", metavar="OUT.safetensors", help="The file to write.")
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), help="Precision of the weights. (default: unchanged)"
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace OUT if it exists.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(args: argparse.Namespace) -> int:
    from ..checkpoints import convert_file
    from ..runtime.device import DTYPES

    answer = convert_file(args.input, args.output, args.dtype and DTYPES[args.dtype], args.overwrite)
    what = f"{answer['stage'] or answer['kind']}, {answer['tensors']} tensors, {answer['bytes'] / 1e6:.1f} MB"
    print(json.dumps(answer) if args.json else f"{answer['destination']}: {what}")
    return 0
