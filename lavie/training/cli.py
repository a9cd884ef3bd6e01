"""`lavie train TARGET`: train one stage of a model family on captioned clips and images, or a LoRA for it.

docs/training.md goes from ten clips of your own to many GPUs. Options by target: lavie train TARGET --help
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from ..flags import add_flags, flags_of, refuse_flags, settings_from
from .registry import registered_sources
from .target_table import TARGETS

HELP = "train a stage of a model family on your clips and images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    targets = parser.add_subparsers(metavar="TARGET", dest="target", required=True, title="what to train")
    refuse = parser.error

    def error(message: str) -> NoReturn:
        autoencoders = "" if registered_sources() else "; autoencoders are trained in a checkout: python -m lab train"
        refuse(message + autoencoders if "TARGET: invalid choice" in message else message)

    parser.error = error
    for name, target in TARGETS.items():
        command = targets.add_parser(name, help=target.help, description=f"Train {name}: {target.help}.")
        add_flags(command, target.settings)
        refuse_flags(command, _elsewhere(name))
        command.add_argument("--debug", action="store_true", help="show where an unexpected error comes from")


def run(args: argparse.Namespace) -> int:
    target = TARGETS[args.target]
    settings = settings_from(args, target.settings)
    if settings.run.threads:
        import torch

        torch.set_num_threads(settings.run.threads)
    result = target.train(settings)
    if result is None or not result.stopped:
        return 0
    print("lavie: stopped and saved; run the same command to go on from there.", file=sys.stderr)
    return 128 + result.signal


def _elsewhere(name: str) -> dict[str, str]:
    """An error message for every flag that other targets have and this one lacks."""
    flags = {each: flags_of(target.settings) for each, target in TARGETS.items()}
    others = {flag for known in flags.values() for flag in known} - flags[name].keys()
    owners = {flag: [each for each, known in flags.items() if flag in known] for flag in sorted(others)}
    return {
        flag: f"{flag} is not for `lavie train {name}`, only for {', '.join(known)}: leave it out"
        for flag, known in owners.items()
    }
