"""Enlarged frames keep the colours of the small ones, and their own detail."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, interpolate

from lavie.errors import UsageError
from lavie.pipelines.color_correction import color_corrected, low_frequencies


def images(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def enlarged(small):
    return interpolate(small, scale_factor=4, mode="bicubic")


@settings(max_examples=20, deadline=None)
@given(tint=st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=3))
def test_a_tint_is_taken_off(tint):
    small = images(2, 3, 12, 16)
    truth = enlarged(small)
    tinted = truth + torch.tensor(tint).view(3, 1, 1)
    torch.testing.assert_close(color_corrected(tinted, small, "wavelet"), truth, atol=1e-5, rtol=0)


def test_fine_detail_stays_that_of_the_large_frames():
    small = torch.zeros(1, 3, 12, 16)
    stripes = (torch.arange(64) % 2 * 2.0 - 1).expand(1, 3, 48, 64)
    corrected = color_corrected(stripes, small, "wavelet")
    torch.testing.assert_close(corrected[..., 4:-4], stripes[..., 4:-4], atol=1e-6, rtol=0)


def test_reduced_to_the_small_size_it_is_nearer_to_the_input():
    small, made = images(1, 3, 12, 16), images(1, 3, 48, 64, seed=1)
    before, after = (avg_pool2d(each, 4) - small for each in (made, color_corrected(made, small, "wavelet")))
    assert after.square().mean() < 0.5 * before.square().mean()


def test_a_plain_image_is_all_low_frequencies():
    plain = torch.full((1, 3, 20, 24), 0.25)
    torch.testing.assert_close(low_frequencies(plain), plain)


def test_none_changes_nothing_and_others_are_refused():
    made = images(1, 3, 8, 8)
    assert color_corrected(made, made[..., ::4, ::4], "none") is made
    with pytest.raises(UsageError, match="Unknown color_correction 'lab'"):
        color_corrected(made, made, "lab")
