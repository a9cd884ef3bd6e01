"""`lavie evaluate SUITE`: measure a family's stages on videos, against the truth and simple methods."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from typing import Any

from ..errors import UsageError
from ..flags import number
from .suites import SUITES, option_name
from .true_clips import has_default_clips

HELP = "measure a model's stages on videos of your own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    suites = "; ".join(f"{name}: {suite.help}" for name, suite in SUITES.items())
    clips = ", ".join(f"{name} {suite.clips}" for name, suite in SUITES.items())
    parser.add_argument("suite", type=_suite, metavar="SUITE", help=suites)
    parser.add_argument("--model", default="lavie-tiny", help="Name or folder of the family. (default: lavie-tiny)")
    parser.add_argument(
        "--videos",
        default="",
        metavar="SPEC",
        help="Your videos: a folder with a .txt caption beside each file, a .csv, or .tar shards.",
    )
    parser.add_argument(
        "--clips",
        "--prompts",
        dest="clips",
        type=number(int, 1, 100_000),
        metavar="N",
        help=f"How many clips or prompts to measure. (default: {clips})",
    )
    parser.add_argument(
        "--seed", type=int, default=1000, metavar="N", help="Seed of prompts and noise. (default: 1000)"
    )
    parser.add_argument(
        "--steps", type=number(int, 1, 1000), metavar="N", help="Denoising steps. (default: the model's own)"
    )
    parser.add_argument(
        "--guidance-scale", type=number(float, 0, 100), metavar="X", help="Guidance scale. (default: the model's own)"
    )
    parser.add_argument(
        "--batch", type=number(int, 1, 1024), default=8, help="How many clips to make at once. (default: 8)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="Where to run. (default: auto)"
    )
    for flag, owners in _owners().items():
        keywords = dict(SUITES[owners[0]].options[flag])
        keywords["help"] = " ".join(f"{name}: {SUITES[name].options[flag]['help']}" for name in owners)
        parser.add_argument(flag, **keywords)
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(args: argparse.Namespace) -> int:
    suite, options = SUITES[args.suite], _options(args)
    from tqdm import tqdm

    from .report import SuiteRequest, rounded

    module = import_module(suite.module)
    clips = args.clips or suite.default_clips(options)
    with tqdm(total=clips * suite.kinds(options), desc="clips", file=sys.stderr) as bar:
        figures = module.measure(
            SuiteRequest(
                model=args.model,
                clips=clips,
                seed=args.seed,
                batch=args.batch,
                device=args.device,
                videos=args.videos,
                options=options,
                settings={"num_inference_steps": args.steps, "guidance_scale": args.guidance_scale},
                progress=bar.update,
            )
        )
    print(json.dumps(rounded(figures)) if args.json else module.show(figures))
    return 0


def _suite(name: str) -> str:
    if name not in SUITES:
        more = (
            "" if has_default_clips() else "; suites on rendered clips run in a checkout, by `python -m lab evaluate`"
        )
        raise argparse.ArgumentTypeError(f"invalid choice: '{name}' (choose from {', '.join(SUITES)}{more})")
    return name


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The suite's own options.

    Raises:
        UsageError: one of another suite was given.
    """
    for flag, owners in _owners().items():
        if getattr(args, option_name(flag)) and args.suite not in owners:
            names = " and ".join(f"'{name}'" for name in owners)
            raise UsageError(f"{flag} belongs to the suite{'s' if len(owners) > 1 else ''} {names}.")
    return {option_name(flag): getattr(args, option_name(flag)) for flag in SUITES[args.suite].options}


def _owners() -> dict[str, list[str]]:
    """Every flag of a suite's own, and the suites that know it."""
    owners: dict[str, list[str]] = {}
    for name, suite in SUITES.items():
        for flag in suite.options:
            owners.setdefault(flag, []).append(name)
    return owners
