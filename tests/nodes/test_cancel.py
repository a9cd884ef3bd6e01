"""Cancel: every node stops within one call of a network, and leaves nothing behind."""

from itertools import pairwise

import pytest
import torch
from support.graph import clip_of, decode, encode, extend, interpolate, network, part, run, sample, stage, upscale


class Stop(Exception):  # noqa: N818 (stands in for ComfyUI's InterruptProcessingException)
    """What ComfyUI raises."""


class Events(list):
    """What happened: "check" when a node asked for Cancel, "network" when a network was called."""

    stop_at = None

    def check(self):
        self.append("check")
        if self.count("check") - 1 == self.stop_at:
            raise Stop


@pytest.fixture
def events(monkeypatch):
    events = Events()

    def note(owner, name):
        original = getattr(owner, name)

        def noted(*args, **kwargs):
            events.append("network")
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    for name in ("base", "interpolation", "upscaler"):
        note(network(name), "forward")
        note(stage(name).vae.first_stage_model, "decode")
        note(stage(name).vae.first_stage_model, "encode")
    for name in ("load_unet", "load_vae_of", "load_text_encoder_of"):
        note(part("nodes.loaders"), name)
    monkeypatch.setattr(part("nodes.text_to_video"), "load_stage", loaded)
    monkeypatch.setattr(part("nodes.host"), "check_interrupt", events.check)
    return events


def loaded(_family, name, *_):
    """A stage as in `stage`, whose networks are watched."""
    return stage(name).model, stage(name).clip, stage(name).vae


LATENTS = torch.zeros(1, 4, 24, 8, 12)
NODES = {
    "loader": lambda: run("LaVieLoader", stage="upscaler"),
    "base sampler": lambda: sample(),
    "extender": lambda: extend(LATENTS[..., :2, :2], num_frames=18),
    "interpolator": lambda: interpolate(clip_of(6, 16, 16), window=3, overlap=1),
    "upscaler": lambda: upscale(clip_of(4, 16, 16), window=2, overlap=1),
    "VAE decode": lambda: decode(LATENTS),
    "VAE encode": lambda: encode(clip_of(24, 64, 96)),
    "text encode": lambda: run("LaVieTextEncode", clip=stage("base").clip, prompt="a ball"),
    "text to video": lambda: run("LaVieTextToVideo", length=2, width=16, height=16, steps=2),
}


def hooks():
    networks = [network(name) for name in ("base", "interpolation", "upscaler")]
    modules = [module for unet in networks for module in unet.modules()]
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in modules)


@pytest.mark.parametrize("node", NODES)
def test_cancel_is_asked_for_between_any_two_calls_of_a_network(events, node):
    NODES[node]()
    assert events[0] == "check"
    assert ("network", "network") not in pairwise(events)
    if node in ("base sampler", "extender", "interpolator", "upscaler", "text to video"):
        assert events.count("check") > 4 * events.count("network")  # inside the UNet, too
    assert hooks() == 0


@pytest.mark.parametrize("node", NODES)
def test_cancel_stops_the_node_at_once(events, node):
    NODES[node]()
    checks = events.count("check")
    for stop_at in sorted({0, checks // 3, checks // 2, checks - 1}):
        events.clear()
        events.stop_at = stop_at
        with pytest.raises(Stop):
            NODES[node]()
        assert events[-1] == "check"
        assert events.count("check") == stop_at + 1
        assert hooks() == 0


def test_after_cancel_the_node_runs_as_before(events):
    before = sample()
    events.clear()
    events.stop_at = 5
    with pytest.raises(Stop):
        sample()
    events.stop_at = None
    assert torch.equal(sample(), before)
