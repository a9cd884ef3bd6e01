"""Checkpoint files of a small base UNet, whole and spoilt."""

import json

import pytest
import torch

from lavie.checkpoints import load_unet
from lavie.errors import LavieError
from lavie.models import build_unet
from support.networks import TWO_LEVELS

SMALL = {**TWO_LEVELS, "block_out_channels": (32, 32)}


def small(**changes):
    torch.manual_seed(0)
    return build_unet({**SMALL, **changes})


def write_base_file(folder):
    """A small base UNet as the official training saves it, with its config beside it."""
    torch.save({"ema": small().state_dict(), "opt": {"step": 3}}, folder / "base.pt")
    (folder / "base.json").write_text(json.dumps(SMALL))
    return folder / "base.pt"


def rewrite(path, change):
    """Let `change` spoil the weights in a file."""
    content = torch.load(path, weights_only=True)
    change(content["ema"])
    torch.save(content, path)


def refusal(path, **options):
    """The message of the refusal, which is short and names the file."""
    with pytest.raises(LavieError) as caught:
        load_unet(path, **options)
    message = str(caught.value)
    assert path.name in message
    assert len(message) < 400
    assert "\n" not in message
    return message
