"""Checkpoint files: recognising, loading, saving and converting them; `lavie.checkpoints.download` downloads them."""

from ..renamed import old_names
from ..tensor_files import Checkpoint, read_checkpoint, read_layout, read_state_dict
from .convert import convert_file
from .describe import describe
from .detect import Detected, detect
from .load import load_unet
from .save import save_unet
from .single_file import SingleFileParts, find_single_file, single_file_parts

__all__ = [
    "Checkpoint",
    "Detected",
    "SingleFileParts",
    "convert_file",
    "describe",
    "detect",
    "find_single_file",
    "load_unet",
    "read_checkpoint",
    "read_layout",
    "read_state_dict",
    "save_unet",
    "single_file_parts",
]

__getattr__ = old_names(__name__)
