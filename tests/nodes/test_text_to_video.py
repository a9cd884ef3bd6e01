"""LaVie Text to Video makes what the graph of separate nodes makes; LaVie Cascade Loader gives that graph its parts."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from support.graph import PACK, PROMPT, decode, network, part, refused, run, stage

from lavie.config import RELEASED_STAGES, find_family

NODE = PACK.NODE_CLASS_MAPPINGS["LaVieTextToVideo"]
MODULE = part("nodes.text_to_video")
HOST = part("nodes.host")
SMALL = {"length": 2, "width": 48, "height": 32, "steps": 2}
ALL, FEWER = "base + interpolation + upscaler", ("base", "base + interpolation", "base + upscaler")


@pytest.fixture
def loads(monkeypatch):
    """The stages that were loaded, in order; they are those of `stage`, so that loading takes no time."""
    loads = []

    def load_stage(_family, name, _dtype, progress):
        progress.step("load", 4, 4)
        loads.append(name)
        return stage(name).model, stage(name).clip, stage(name).vae

    monkeypatch.setattr(MODULE, "load_stage", load_stage)
    return loads


def video_of(**given):
    return run("LaVieTextToVideo", **{**SMALL, "prompt": PROMPT, **given})


def graph_of(stages, seed, **given):
    """The frames and their rate by the nodes of every stage, wired as in the workflow Full cascade."""
    wires = {}
    for name in ("base", "interpolation", "upscaler"):
        of, negative = stage(name), given.get("negative_prompt", "")
        texts = run("LaVieTextEncode", clip=of.clip, prompt=PROMPT, negative_prompt=negative)
        wires[name] = {"model": of.model, **dict(zip(("positive", "negative"), texts, strict=True)), "seed": seed}
        wires[name]["speed"] = given.get("speed", "exact")
    base = {"num_frames": 2, "width": 48, "height": 32, "steps": 2, **given.get("base", {})}
    latent, fps = run("LaVieBaseSampler", **wires["base"], **base)
    images = decode(latent["samples"])
    if "interpolation" in stages:
        vae = stage("interpolation").vae
        images, fps, _ = run("LaVieTemporalInterpolator", **wires["interpolation"], vae=vae, images=images, fps=fps)
    if "upscaler" in stages:
        images, _ = run("LaVieVideoUpscaler", **wires["upscaler"], vae=stage("upscaler").vae, images=images)
    return images, fps


# ---------------------------------------------------------------------------------------- the same as the graph


@pytest.mark.parametrize("stages", [*FEWER, ALL])
def test_the_frames_are_those_of_the_separate_nodes(loads, stages):
    (video,), (images,), (fps,) = video_of(stages=stages, seed=5)
    theirs, their_fps = graph_of(stages, 5)
    assert torch.equal(images, theirs)
    assert fps == their_fps
    parts = video.get_components()
    assert parts.images is images
    assert float(parts.frame_rate) == fps
    assert loads == stages.split(" + ")


def test_the_hosts_words_stand_for_the_settings_of_the_base_sampler(loads):
    words = {"cfg": 5.0, "sampler_name": "euler", "scheduler": "karras", "steps": 3}
    base = {"guidance_scale": 5.0, "sampler": "euler", "spacing": "karras", "steps": 3}
    shared = {"negative_prompt": "snow", "speed": "balanced"}
    _, (images,), _ = video_of(stages="base + upscaler", seed=5, **words, **shared)
    theirs, _ = graph_of("upscaler", 5, base=base, **shared)
    assert torch.equal(images, theirs)
    assert not torch.equal(images, graph_of("upscaler", 5, **shared)[0])


def test_a_batch_is_one_video_for_each_of_the_next_seeds(loads):
    last = 2**64 - 1
    videos, images, rates = video_of(stages="base", seed=last, batch_size=2)
    assert NODE.OUTPUT_IS_LIST == (True, True, True)  # Save Video writes a file for each
    assert len(videos) == 2
    assert torch.equal(images[0], graph_of("base", last)[0])
    assert torch.equal(images[1], graph_of("base", 0)[0])
    assert rates == [8, 8]
    assert loads == ["base"]


def test_left_alone_it_makes_the_models_own_clip(loads):
    _, (images,), (fps,) = run("LaVieTextToVideo", stages="base", steps=1)
    assert images.shape == (16, 64, 96, 3)
    assert fps == 8


# ---------------------------------------------------------------------------------------- loading


def test_stages_stay_loaded_from_run_to_run_until_the_model_changes(loads, monkeypatch):
    node, settings = NODE(), {"prompt": PROMPT, "negative_prompt": "", "batch_size": 1, **SMALL, "speed": "exact"}
    settings |= {"cfg": -1.0, "sampler_name": "default", "scheduler": "default", "model": "lavie-tiny"}
    node.execute(**settings, stages="base", seed=1)
    node.execute(**settings, stages="base + upscaler", seed=2)
    assert loads == ["base", "upscaler"]
    monkeypatch.setattr(MODULE, "state_of", lambda model: "another file")
    node.execute(**settings, stages="base", seed=2)
    assert loads == ["base", "upscaler", "base"]


def test_the_cascade_loader_gives_what_three_loaders_give():
    found = dict(zip(PACK.NODE_CLASS_MAPPINGS["LaVieCascadeLoader"].outputs, run("LaVieCascadeLoader"), strict=True))
    for name in ("base", "interpolation", "upscaler"):
        model, clip, vae = (found[f"{name}_{part}"] for part in ("model", "clip", "vae"))
        assert model.model.lavie == clip.cond_stage_model.lavie == vae.lavie == stage(name).model.model.lavie
        theirs = network(name).state_dict()
        ours = model.model.diffusion_model.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
        assert vae.scaling_factor == stage(name).vae.scaling_factor


# ---------------------------------------------------------------------------------------- what is told


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompt": " \n"}, "prompt is empty"),
        ({"steps": 0}, "steps must be between 1 and 1000, not 0"),
        ({"width": 20}, "divisible by 8"),
        ({"length": 1}, "length is 1, but interpolation needs at least 2 frames.*stages"),
        ({"scheduler": "karras"}, "sampler ddim has no scheduler karras.*leading, linspace, trailing"),
        ({"model": "lavie"}, "lacks lavie_base.pt"),
        ({"model": "nothing"}, "no model 'nothing'"),
    ],
)
def test_what_cannot_work_is_told_before_anything_loads(loads, given, message):
    refused(lambda: video_of(**given), message)
    assert loads == []


def test_the_cascade_loader_names_the_first_file_that_is_missing(monkeypatch):
    monkeypatch.setattr(part("nodes.loaders"), "load_stage", lambda *_: pytest.fail("work began"))
    refused(lambda: run("LaVieCascadeLoader", model="lavie"), "released weights are not here.*lavie_base.pt")


def test_out_of_memory_is_told_in_the_words_of_this_node(loads, monkeypatch):
    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(network("base"), "forward", full)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"Lower length, width or height, or choose fewer stages\.$"):
        video_of()


def test_the_tooltips_say_what_the_models_own_settings_are():
    inputs = NODE.INPUT_TYPES()["required"]
    tiny, released = find_family("lavie-tiny").base, RELEASED_STAGES["base"]
    both = f"0: the model's own ({tiny.width} for lavie-tiny, {released.width} for lavie)."
    assert both in inputs["width"][1]["tooltip"]
    assert "0: the model's own (16)." in inputs["length"][1]["tooltip"]
    both = f"−1: the model's own ({tiny.guidance_scale:g} for lavie-tiny, {released.guidance_scale:g} for lavie)."
    assert both in inputs["cfg"][1]["tooltip"]
    assert "default: the model's own (leading)." in inputs["scheduler"][1]["tooltip"]


def test_the_node_says_what_the_models_own_settings_were(loads, monkeypatch):
    said = []
    monkeypatch.setattr(HOST, "note", lambda sentence, level: said.append(sentence))
    video_of(stages="base", length=3)
    assert said == ["lavie-tiny makes 3 frames of 48×32 in 2 steps of ddim (leading), cfg 3."]


def test_the_bar_fills_once_over_all_stages_and_videos(loads, monkeypatch):
    """As the host's bar: it never runs backwards, and is full at the end only."""
    shown = []

    def bar(total):
        return SimpleNamespace(update_absolute=lambda done, whole, *_: shown.append(done / whole))

    utils = SimpleNamespace(ProgressBar=bar)
    for name in ("comfy", "required"):
        monkeypatch.setattr(HOST, name, lambda module: utils if module == "comfy.utils" else None)
    video_of(batch_size=2, steps=5)
    assert all(first <= second for first, second in pairwise(shown))
    assert shown[-1] == 1
    assert all(value < 1 for value in shown[:-1])
    assert len(set(shown)) > 20
