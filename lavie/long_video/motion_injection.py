"""Motion injection (FreeNoise, Qiu et al. 2024, section 3.4): prompts over time change what happens, not how it looks.

At every step the up blocks of the network get each frame's own prompt. The down blocks and the middle block get it only
while motion is decided; before and after they get the first prompt, which keeps the look of the whole video.

Source: lvdm/models/samplers/ddim_mp.py (steps 5 to 15 of 50) and lvdm/modules/networks/openaimodel3d_freenoise.py. The
official code uses the last prompt instead of the paper's first.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..sampling import TextCondition

MOTION = (680, 900)  # timesteps while motion is decided


def injected(text: TextCondition) -> Callable[[float], TextCondition]:
    """The text for the down blocks and the middle block at a timestep; one text for all frames is unchanged."""
    if text.frames is None:
        return lambda timestep: text
    first = text.at(torch.zeros(text.frames, dtype=torch.int64))
    return lambda timestep: text if MOTION[0] <= timestep <= MOTION[1] else first
