"""Noise masks of a host, as what a clip keeps."""

import pytest
import torch

from lavie.errors import UsageError
from lavie.sampling import Known


@pytest.mark.parametrize("shape", [(64, 96), (1, 64, 96), (16, 64, 96), (16, 1, 32, 48)])
def test_a_mask_over_pixels_keeps_what_is_black(shape):
    latents = torch.randn(1, 4, 16, 8, 12)
    mask = torch.zeros(shape)
    mask[..., shape[-1] // 2 :] = 1
    known = Known.from_mask(latents, mask)
    made = known.restored(torch.zeros_like(latents))
    assert torch.equal(made[..., :5], latents[..., :5])
    assert (made[..., 7:] == 0).all()


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(UsageError, match="3 frames"):
        Known.from_mask(torch.zeros(1, 4, 16, 8, 12), torch.zeros(3, 64, 96))


def test_a_mask_that_is_aligned_with_the_latents_does_not_smear():
    mask = torch.zeros(64, 96)
    mask[:, 48:] = 1
    known = Known.from_mask(torch.randn(1, 4, 16, 8, 12), mask)
    assert torch.equal(known.mask.unique(), torch.tensor([0.0, 1.0]))
