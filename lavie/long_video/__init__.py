"""Videos longer than the model makes at once: a file for every method, and the table of them."""

from .methods import METHODS, Method, method_of
from .settings import LongVideoSettings

__all__ = ["METHODS", "LongVideoSettings", "Method", "method_of"]
