"""Flicker: what changes and changes back."""

import torch

from lab.judge.judge import flicker_of


def test_what_stands_or_moves_evenly_does_not_flicker():
    ramp = torch.linspace(0, 1, 8).view(8, 1, 1, 1).expand(8, 3, 16, 16)
    assert flicker_of(torch.full((8, 3, 16, 16), 0.4)) == 0
    assert flicker_of(ramp) < 0.01


def test_light_that_goes_on_and_off_flickers():
    frames = torch.zeros(8, 3, 16, 16)
    frames[::2] = 0.1
    assert abs(flicker_of(frames) - 25.5) < 0.1


def test_the_guest_does_not_count():
    frames, guest = torch.zeros(8, 3, 32, 32), torch.zeros(8, 32, 32)
    frames[::2, :, :8, :8], guest[:, :8, :8] = 0.5, 1
    assert flicker_of(frames, guest) == 0
