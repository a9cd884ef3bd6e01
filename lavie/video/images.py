"""Opens images from strangers: common formats only, up to a size limit."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..bounded import MAX_PIXELS, regular_size
from ..errors import LavieError

if TYPE_CHECKING:
    from PIL.Image import Image

# Without those that Pillow hands to other programs (EPS to Ghostscript), and rare ones.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


@contextmanager
def opened_image(file: Path | bytes, name: str) -> Iterator[Image]:
    """A context manager: an image whose pixels are not read yet. An error in the block counts as one of the image.

    Raises:
        LavieError: it is missing, damaged, larger than 8192×8192 pixels, or no image; `name` begins the sentence.
    """
    import PIL.Image

    if isinstance(file, Path):
        regular_size(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise LavieError(f"{name} has {image.width}×{image.height} pixels, which is too large.")
                yield image
    except LavieError:
        raise
    except Exception as error:  # damaged images make Pillow raise anything
        raise LavieError(f"{name} is not an image that can be read ({error}).") from error
