"""The packages that training needs and LaVie does not need otherwise."""

from __future__ import annotations

from importlib import import_module

from ..errors import LavieError

PACKAGES = {"accelerate": "accelerate>=0.30", "peft": "peft>=0.11"}


def check_packages(*names: str) -> None:
    """Import them, before any work is done.

    Raises:
        LavieError: one is missing or broken; the message says how to install it.
    """
    for name in names or PACKAGES:
        try:
            import_module(name)
        except ImportError as error:
            raise LavieError(
                f'Training needs the package {name} ({error}). Install it: pip install "{PACKAGES[name]}".'
            ) from error
