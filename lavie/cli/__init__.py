"""The command line: `lavie COMMAND …`.

Each command is a module with `HELP`, `add_arguments(parser)` and `run(args) -> exit code`; it imports heavy
packages inside `run`, so that `--help` and wrong usage answer at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from importlib import import_module
from typing import NoReturn

from .. import __version__
from ..errors import Cancelled, LavieError, UsageError, in_words, printable
from .interrupts import interruptible

COMMANDS = {
    "generate": "lavie.cli.generate",
    "interpolate": "lavie.cli.interpolate",
    "upscale": "lavie.cli.upscale",
    "extend": "lavie.cli.extend",
    "transition": "lavie.cli.transition",
    "train": "lavie.training.cli",
    "evaluate": "lavie.evaluation.cli",
    "convert": "lavie.cli.convert",
    "download": "lavie.cli.download",
    "info": "lavie.cli.info",
}

FAILURE, WRONG_USAGE, INTERRUPTED = 1, 2, 130
STOPPED = "stopped; unfinished files were not written."
MEMORY_ADVICE = "Set a limit to work in smaller parts (--memory auto), or ask for a smaller size or fewer frames."


def main(argv: list[str] | None = None) -> int:
    """Run a command: 0, or after one line on standard error 1 (failure), 2 (wrong usage), 130 (Ctrl-C)."""
    argv = sys.argv[1:] if argv is None else argv
    with interruptible() as came:
        try:
            args = _parser().parse_args(argv)
            return args.run(args)
        except (KeyboardInterrupt, Cancelled) as stop:
            return _fail(str(stop) or STOPPED, INTERRUPTED, argv)
        except Exception as error:
            if "--debug" in argv and not isinstance(error, LavieError):
                traceback.print_exc()
            return _fail(STOPPED, INTERRUPTED, argv) if came else _fail(*_in_words(error), argv)


def _in_words(error: Exception) -> tuple[str, int]:
    """A sentence for an error, and the exit code."""
    if isinstance(error, LavieError):
        return str(error), WRONG_USAGE if isinstance(error, UsageError) else FAILURE
    told = in_words(error, MEMORY_ADVICE)
    if told is not None:
        return str(told), FAILURE
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words} (--debug shows where)", FAILURE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See: {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lavie", description="LaVie: long, large, smooth videos from a prompt.")
    parser.add_argument("--version", action="version", version=f"lavie {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module_name in COMMANDS.items():
        module = import_module(module_name)
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="Show where an unexpected error comes from.")
        command.set_defaults(run=module.run)
    return parser


def _fail(message: str, code: int, argv: list[str]) -> int:
    print(f"lavie: error: {printable(message)}", file=sys.stderr)
    if "--json" in argv:
        print(json.dumps({"error": message}))
    return code
