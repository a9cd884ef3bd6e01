"""--control: what the video follows."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import find_family, released_folder
from ..errors import UsageError
from ..flags import for_each
from ..video import read_video

if TYPE_CHECKING:
    import numpy as np

    from ..control import Control

FORM = "KIND[=NET]:VIDEO[:STRENGTH]"


def add_control_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--control",
        dest="controls",
        action="append",
        default=[],
        metavar=FORM,
        help="Follow a video, or one image for all frames, with a ControlNet or T2I-Adapter for Stable Diffusion 1.x. "
        "KIND: canny or lineart (made of VIDEO with OpenCV), depth, openpose, softedge, scribble, seg, mlsd, normal, "
        "tile or image (VIDEO holds the maps). NET: its file, or one in models/controlnet with the kind in its name. "
        "NET:VIDEO takes VIDEO as it is. Repeatable. (default strength: 1)",
    )
    over = {"steps": "steps, from 0 (noise) to 1 (done): '0: 1, 0.5: 0'", "strengths": "frames: '0: 1, 8: 0'"}
    for name, words in over.items():
        parser.add_argument(
            f"--control-{name}",
            action="append",
            default=[],
            metavar="TEXT",
            help=f"Factors on the strength over the {words}. Give it once for all controls, or once for each.",
        )


def chosen_controls(args: argparse.Namespace) -> list[Control]:
    """The controls of --control, with their videos read."""
    if not args.controls:
        return []
    from ..control import Control
    from ..control.strengths import FrameStrengths
    from ..lora.steps import StepStrengths

    steps, frames = (
        for_each(args, option, "controls", "controls") for option in ("control_steps", "control_strengths")
    )
    controls = []
    for text, over_steps, over_frames in zip(args.controls, steps, frames, strict=True):
        network, video, source, strength = _read(text, args.model)
        parts = StepStrengths.parse(over_steps), FrameStrengths.parse(over_frames)
        controls.append(Control(network, video, strength, os.path.basename(source), (0.0, 1.0), *parts))
    return controls


def _read(text: str, model: str) -> tuple[Path, np.ndarray, str, float]:
    """The file of the network, the maps uint8 [F, height, width, 3], the file of the video, and the strength."""
    from ..control import KINDS, find_network
    from ..control.kinds import maps_of

    rest, strength = _strength(text)
    head, colon, video = rest.partition(":")
    name, equals, network = head.partition("=")
    if colon and name in KINDS:
        kind = KINDS[name]
        if equals:  # a file's own colon, as in C:\nets, is not the one before the video
            network, video = _split(rest.partition("=")[2], text)
        path = Path(network) if equals else find_network(kind, _folders(model))
        return path, maps_of(kind, read_video(video).frames), video, strength
    network, video = _split(rest, text)
    return Path(network), read_video(video).frames, video, strength


def _strength(text: str) -> tuple[str, float]:
    rest, _, last = text.rpartition(":")
    try:
        return rest, float(last)
    except ValueError:
        return text, 1.0


def _split(text: str, whole: str) -> tuple[str, str]:
    """The file of a network and a video, divided by the first colon after which both are there."""
    places = [place for place, letter in enumerate(text) if letter == ":"]
    for place in places:
        network, video = text[:place], text[place + 1 :]
        if os.path.exists(network) and video:
            return network, video
    from ..control import KINDS

    raise UsageError(
        f"--control {whole}: there is no ControlNet {text[: places[-1]] if places else text}. Write {FORM} with one of "
        f"the kinds {', '.join(KINDS)}, or NET:VIDEO with the file of a ControlNet."
    )


def _folders(model: str) -> list[Path]:
    places = (find_family(model).folder, released_folder(), Path("models"))
    return list(dict.fromkeys(place / "controlnet" for place in places))
