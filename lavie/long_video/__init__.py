"""Videos longer than one clip: one file per method, and the table of methods."""

from .methods import METHODS, Method, method_of
from .settings import LongVideoSettings

__all__ = ["METHODS", "LongVideoSettings", "Method", "method_of"]
