"""`python -m lab`: the commands of `lavie`, with what the lab adds to `train` and `evaluate`."""

import sys

from lavie.cli import main

from . import register

if __name__ == "__main__":
    register()
    sys.exit(main())
