"""LaVie's own errors: each carries one or two clear sentences for an artist."""

from __future__ import annotations

import errno
import re

# Control characters but line ends and tabs, marks that turn the direction of text, halves of surrogate pairs.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with characters that would control a terminal shown as escapes: a file's name may hold anything."""
    return _HIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)


class LavieError(Exception):
    """Something went wrong that the user can fix; the message says what and how (command line: exit 1)."""

    __module__ = "lavie"  # ComfyUI shows it, and would show the pack's whole path

    def __str__(self) -> str:
        return printable(super().__str__())


class UsageError(LavieError, ValueError):
    """An input has a value that LaVie cannot work with (command line: exit 2)."""

    __module__ = "lavie"


class Cancelled(LavieError):  # noqa: N818 (a wish, not an error)
    """The user asked to stop; nothing was written (command line: exit 130)."""

    __module__ = "lavie"


# What torch says in a RuntimeError: of main memory on Linux and macOS, on Windows; of Apple's GPU; of oneDNN.
NO_MEMORY = ("DefaultCPUAllocator", "not enough memory", "out of memory", "could not create a primitive")
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the computer, has no memory left."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def in_words(error: BaseException, advice: str) -> LavieError | None:
    """A sentence for what the system refused, memory or access to a file; None for any other error.

    advice: a sentence on what to do where memory is short.
    """
    if is_out_of_memory(error):
        return LavieError(f"LaVie ran out of memory. {advice}")
    if isinstance(error, OSError) and error.errno in NO_ACCESS:
        place = "A file or folder" if error.filename is None else error.filename
        return LavieError(f"{place} is closed to LaVie ({error.strerror}). Change its permissions, or choose another.")
    return None
