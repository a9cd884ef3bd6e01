"""guidance_rescale: strong guidance keeps the contrast of a prediction that follows the prompt alone."""

import numpy as np
import pytest
import torch

from lavie import TextToVideoPipeline
from lavie.errors import UsageError
from lavie.sampling.guidance import rescaled

PROMPT = "a red ball moving left over green grass"
SMALL = {"seed": 3, "num_frames": 4, "height": 32, "width": 48, "num_inference_steps": 4}


@pytest.fixture(scope="module")
def pipeline():
    return TextToVideoPipeline.from_pretrained("lavie-tiny", device="cpu")


def test_the_whole_share_gives_every_clip_the_deviation_of_its_positive_half():
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(2, 4, 3, 5, 6, generator=generator) * torch.tensor([1.0, 3.0])[:, None, None, None, None]
    guided = 5 * torch.randn(2, 4, 3, 5, 6, generator=generator) + 1
    full, half = rescaled(guided, positive, 1.0), rescaled(guided, positive, 0.5)
    torch.testing.assert_close(full.std((1, 2, 3, 4)), positive.std((1, 2, 3, 4)))
    torch.testing.assert_close(half, (guided + full) / 2)
    assert rescaled(guided, positive, 0.0) is guided


def test_it_is_off_at_0_and_without_guidance_and_else_calms_strong_guidance(pipeline):
    plain = pipeline(PROMPT, guidance_scale=12.0, **SMALL).frames
    assert np.array_equal(pipeline(PROMPT, guidance_scale=12.0, guidance_rescale=0.0, **SMALL).frames, plain)
    calm = pipeline(PROMPT, guidance_scale=12.0, guidance_rescale=1.0, **SMALL)
    assert calm.metadata["guidance_rescale"] == 1.0
    assert calm.frames.std() < 0.95 * plain.std()
    one, other = (pipeline(PROMPT, guidance_scale=1.0, guidance_rescale=share, **SMALL).frames for share in (0.0, 1.0))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(pipeline, share):
    with pytest.raises(UsageError, match="guidance rescale must be between 0 and 1"):
        pipeline(PROMPT, guidance_rescale=share, **SMALL)
