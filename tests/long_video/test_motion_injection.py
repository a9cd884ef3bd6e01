"""Motion injection: the way up is told every prompt, the way down and the middle the first one, but for some steps."""

import pytest
import torch
from support.guidance import guided
from support.networks import TWO_LEVELS

from lavie.long_video.motion_injection import MOTION, injected
from lavie.models import build_unet
from lavie.models.attention import TextAttention
from lavie.sampling import TextCondition, seeded
from lavie.sampling.denoise import WHOLE

FRAMES = 6


def draw(*shape, seed):
    return torch.randn(shape, generator=seeded(seed))


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(TWO_LEVELS).eval()


@pytest.fixture(scope="module")
def text():
    """A prompt for the first half and another one for the second."""
    one, two = draw(1, 1, 5, 16, seed=1), draw(1, 1, 5, 16, seed=2)
    prompts = torch.cat((one.expand(-1, 3, -1, -1), two.expand(-1, 3, -1, -1)), dim=1)
    return TextCondition.of(prompts, draw(1, 5, 16, seed=3))


def test_the_first_prompt_is_told_before_motion_is_decided_and_after(text):
    told = injected(text)
    for timestep in MOTION:
        assert told(timestep) is text
    for timestep in (999, MOTION[1] + 1, MOTION[0] - 1, 0):
        assert torch.equal(told(timestep).positive, text.positive[:, :1].expand_as(text.positive))
        assert torch.equal(told(timestep).negative, text.negative)


def test_the_steps_are_those_of_the_official_code():
    assert [step for step in range(50) if MOTION[0] <= 981 - 20 * step <= MOTION[1]] == list(range(5, 16))


def test_one_text_for_all_frames_is_left_alone():
    one = TextCondition.of(draw(1, 5, 16, seed=1), draw(1, 5, 16, seed=3))
    assert injected(one)(0) is one


@torch.no_grad()
def predicted(unet, text, timestep, sequential_guidance=False, down_text=None, scale=3.0):
    predict = guided(unet, text, scale, sequential_guidance=sequential_guidance, down_text=down_text)
    return predict(draw(1, 4, FRAMES, 4, 4, seed=4), torch.tensor(float(timestep)), WHOLE)


@pytest.mark.parametrize(("timestep", "first_alone"), [(999, True), (800, False), (100, True)])
def test_the_network_is_told_so_on_its_way_down(unet, text, timestep, first_alone):
    told = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: told.update({name: inputs[1]}))
        for name, module in unet.named_modules()
        if isinstance(module, TextAttention)
    ]
    try:
        predicted(unet, text, timestep, down_text=injected(text), scale=1.0)
    finally:
        for hook in hooks:
            hook.remove()
    assert {name.split("_")[0] for name in told} == {"down", "mid", "up"}
    first = text.positive[:, :1].expand_as(text.positive)
    for name, states in told.items():
        assert torch.equal(states, text.positive if name.startswith("up") or not first_alone else first), name


def test_halves_of_the_guidance_in_turn_are_told_alike(unet, text):
    together, in_turn = (
        predicted(unet, text, 100, sequential_guidance=sequential_guidance, down_text=injected(text))
        for sequential_guidance in (False, True)
    )
    torch.testing.assert_close(together, in_turn, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together, predicted(unet, text, 100), atol=1e-3)
    assert torch.equal(predicted(unet, text, 800, down_text=injected(text)), predicted(unet, text, 800))
