"""`guided` for tests that have no stage: a scale, and what else differs from no speed-up and no rescaling."""

from __future__ import annotations

from typing import Any

import lavie.sampling
from lavie.config import StageConfig
from lavie.knobs import knobs_of
from lavie.sampling.guidance import Predict


def guided(unet: Any, text: Any, guidance_scale: float, **given: Any) -> Predict:
    """given: settings of `StageConfig`, or inputs of the network."""
    settings = {name: given.pop(name) for name in knobs_of(StageConfig) if name in given}
    config = StageConfig("", "", "", "", guidance_scale=guidance_scale, **settings)
    return lavie.sampling.guided(unet, text, config, **given)
