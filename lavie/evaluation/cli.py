"""`lavie evaluate SUITE`: a family's stages on held-out combinations of the synthetic world, in figures."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module

from ..cli.arguments import guidance_scale, whole_number
from ..errors import UsageError

HELP = "measure a model's stages on the synthetic world"
CLIPS = {
    "synthetic": 400,
    "interpolation": 64,
    "upscaler": 32,
    "extension": 36,
    "retention": 100,
    "lora": 63,
    "long": 9,
    "speed": 8,
}
KINDS = {"extension": 2, "retention": 2, "lora": 4, "long": 6, "speed": 3}  # of clips, where there are several
SUITES = """
synthetic: do clips show what their prompts say?
interpolation: PSNR of 61 frames beside blending.
upscaler: PSNR, sharpness and flicker beside bicubic.
extension: what four recursions keep, and whether the motion goes on.
retention: video prompts with colours that only pictures taught.
lora: does a new subject appear, and does all else stay?
long: what holds over 80 frames, by every method.
speed: what fast mode saves and costs.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", choices=tuple(CLIPS), help=" ".join(SUITES.split("\n")).strip())
    parser.add_argument("--model", default="lavie-tiny", help="family name or folder (default: lavie-tiny)")
    parser.add_argument(
        "--clips",
        "--prompts",
        dest="clips",
        type=whole_number(1, 100_000),
        metavar="N",
        help=f"how many (default: {', '.join(f'{suite} {count}' for suite, count in CLIPS.items())})",
    )
    parser.add_argument("--seed", type=int, default=1000, metavar="N", help="of prompts and noise (default: 1000)")
    parser.add_argument("--steps", type=whole_number(1, 1000), metavar="N", help="default: the model's own")
    parser.add_argument("--guidance-scale", type=guidance_scale, metavar="X", help="default: the model's own")
    parser.add_argument("--batch", type=whole_number(1, 1024), default=8, help="clips at a time (default: 8)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument(
        "--gap-only", action="store_true", help="synthetic: only the word-swap gap per noise level, in seconds"
    )
    parser.add_argument(
        "--presets-only", action="store_true", help="speed: only exact, balanced and fast, not the knobs one by one"
    )
    parser.add_argument(
        "--method",
        default="",
        help="extension: conditioned (the extension stage, default) or replacement (the base stage, training-free); "
        "long: one method alone (default: all); speed: one stage alone (default: all)",
    )
    parser.add_argument("--lora", default="", metavar="FILE", help="lora: a LoRA of the subject")
    parser.add_argument("--trigger", default="", metavar="WORD", help="lora: the word that calls for it")
    parser.add_argument("--subject", default="", help="lora: what it is to show, cat (default) or mushroom")
    parser.add_argument("--other-lora", default="", metavar="FILE", help="lora: another one, put on beside it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.gap_only and args.suite != "synthetic":
        raise UsageError("--gap-only belongs to the suite 'synthetic'.")
    if args.presets_only and args.suite != "speed":
        raise UsageError("--presets-only belongs to the suite 'speed'.")
    from tqdm import tqdm

    from .report import Request, rounded

    measure, show, clips = _suite(args)
    kinds = 1 if args.suite in ("long", "speed") and args.method else KINDS.get(args.suite, 1)
    total = clips * (kinds + bool(args.other_lora))
    with tqdm(total=total, desc="clips", file=sys.stderr) as bar:
        figures = measure(
            Request(
                model=args.model,
                clips=clips,
                seed=args.seed,
                batch=args.batch,
                device=args.device,
                method=args.method,
                presets_only=args.presets_only,
                lora=args.lora,
                trigger=args.trigger,
                subject=args.subject,
                other_lora=args.other_lora,
                settings={"num_inference_steps": args.steps, "guidance_scale": args.guidance_scale},
                progress=bar.update,
            )
        )
    print(json.dumps(rounded(figures)) if args.json else show(figures))
    return 0


def _suite(args: argparse.Namespace):
    """What measures, what shows the figures, and how many clips."""
    if args.gap_only:
        from .gap import measure_gaps, show_gaps
        from .synthetic import GAP_CLIPS

        return measure_gaps, show_gaps, args.clips or GAP_CLIPS
    suite = import_module(f".{args.suite}", __package__)
    return suite.measure, suite.show, args.clips or CLIPS[args.suite]
