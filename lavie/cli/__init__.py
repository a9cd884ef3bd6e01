"""The command line: `lavie COMMAND …`.

Each command is a module with `HELP`, `add_arguments(parser)` and `run(args) -> exit code`; it imports heavy
packages inside `run`, so that `--help` and wrong usage answer at once.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NoReturn

from .. import __version__
from ..errors import Cancelled, LavieError, UsageError, in_words, printable

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
MEMORY_ADVICE = "Set a limit to work in smaller parts (--memory auto), or ask for a smaller size or fewer frames."


def main(argv: list[str] | None = None) -> int:
    """Run a command: 0, or after one line on standard error 1 (failure), 2 (wrong usage), 130 (Ctrl-C)."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        with _termination_as_interrupt():
            args = _parser().parse_args(argv)
            return args.run(args)
    except (KeyboardInterrupt, Cancelled) as stop:
        return _fail(str(stop) or "stopped; unfinished files were not written.", INTERRUPTED, argv)
    except LavieError as error:
        return _fail(str(error), WRONG_USAGE if isinstance(error, UsageError) else FAILURE, argv)
    except Exception as error:
        if "--debug" in argv:
            traceback.print_exc()
        told = in_words(error, MEMORY_ADVICE)
        if told is not None:
            return _fail(str(told), FAILURE, argv)
        words = " ".join(str(error).split())
        return _fail(f"{type(error).__name__}: {words} (--debug shows where)", FAILURE, argv)


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


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM cleans up as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
