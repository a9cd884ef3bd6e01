"""LaVie's own errors: each carries one or two clear sentences for an artist."""


class LavieError(Exception):
    """Something went wrong that the user can fix; the message says what and how (command line: exit 1)."""

    __module__ = "lavie"  # ComfyUI shows it, and would show the pack's whole path


class UsageError(LavieError, ValueError):
    """An input has a value that LaVie cannot work with (command line: exit 2)."""

    __module__ = "lavie"


class Cancelled(LavieError):  # noqa: N818 (a wish, not an error)
    """The user asked to stop; nothing was written (command line: exit 130)."""

    __module__ = "lavie"
