"""Motion injection (FreeNoise, Qiu et al. 2024, section 3.4): prompts over time change what happens, not how it looks.

The way up through the network is told every frame's own prompt at every step, the way down and the middle only while
motion is decided; before and after they are told the first prompt, which so keeps the look of the whole film.

Source: lvdm/models/samplers/ddim_mp.py (steps 5 to 15 of 50) and lvdm/modules/networks/openaimodel3d_freenoise.py; in
place of the paper's first prompt the official code has the last.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..sampling import TextCondition

MOTION = (680, 900)  # timesteps while motion is decided


def injected(text: TextCondition) -> Callable[[float], TextCondition]:
    """What the network's way down and its middle are told at a timestep; one text for all frames stays what it is."""
    if text.frames is None:
        return lambda timestep: text
    first = text.at(torch.zeros(text.frames, dtype=torch.int64))
    return lambda timestep: text if MOTION[0] <= timestep <= MOTION[1] else first
