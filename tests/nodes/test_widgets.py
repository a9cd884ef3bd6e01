"""Widgets come from the settings' own declaration, and one that is left alone changes nothing."""

import pytest
import torch
from support.graph import PACK, clip_of, part, sample, stage, upscale, widgets, wires

from lavie.config import StageConfig
from lavie.knobs import Knob, knobs_of
from lavie.long_video import LongVideoSettings
from lavie.stages import STAGES

TITLES = {title: name for name, title in PACK.NODE_DISPLAY_NAME_MAPPINGS.items()}
SAMPLERS = [
    name for name, node in PACK.NODE_CLASS_MAPPINGS.items() if issubclass(node, part("nodes.sampler").SamplerNode)
]


def widget(kind, default, help="What it does.", **traits):
    return part("nodes.widgets").widget(Knob(help, name="x", kind=kind, default=default, **traits))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            widget(int, 50, minimum=1, maximum=1000, off=-1),
            (
                "INT",
                {"default": -1, "min": -1, "max": 1000, "step": 1, "tooltip": "What it does. −1: the model's own."},
            ),
        ),
        (
            widget(float, 7.5, minimum=0, maximum=100, off=-1.0, step=0.1),
            (
                "FLOAT",
                {
                    "default": -1.0,
                    "min": -1.0,
                    "max": 100.0,
                    "step": 0.1,
                    "round": 0.001,
                    "tooltip": "What it does. −1: the model's own.",
                },
            ),
        ),
        (
            widget(str, "ddim", choices=("ddim", "ddpm"), off="default"),
            (["default", "ddim", "ddpm"], {"default": "default", "tooltip": "What it does. default: the model's own."}),
        ),
        (
            widget(str, "exact", choices=("exact", "fast"), off="exact"),
            (["exact", "fast"], {"default": "exact", "tooltip": "What it does."}),
        ),
        (widget(bool, True), ("BOOLEAN", {"default": True, "tooltip": "What it does."})),
        (widget(str, "snow"), ("STRING", {"default": "snow", "tooltip": "What it does."})),
        (
            widget(bool, True, advanced=True),
            ("BOOLEAN", {"default": True, "tooltip": "What it does.", "advanced": True}),
        ),
    ],
)
def test_a_setting_becomes_a_widget_at_the_value_that_leaves_it_alone(given, expected):
    assert given == expected


@pytest.mark.parametrize("name", PACK.NODE_CLASS_MAPPINGS)
def test_a_beginner_meets_at_most_eight_widgets_on_a_node(name):
    """The others are folded away, as `advanced`; ComfyUI shows them on request."""
    groups = PACK.NODE_CLASS_MAPPINGS[name].INPUT_TYPES().values()
    every = {key: options for group in groups for key, (_, options) in group.items() if "default" in options}
    shown = [key for key, options in every.items() if not options.get("advanced")]
    assert len(shown) <= 8, shown
    assert shown or not every


@pytest.mark.parametrize("name", STAGES)
def test_every_setting_of_a_stage_can_be_reached_on_its_node(name):
    node = PACK.NODE_CLASS_MAPPINGS[TITLES[STAGES[name].node]]
    inputs = node.INPUT_TYPES()
    missing = [
        knob.widget_name
        for knob in knobs_of(StageConfig, name).values()
        if "widget" in knob.front_ends and knob.widget_name not in {**inputs["required"], **inputs["optional"]}
    ]
    assert not missing, "a new setting goes to the end of NEWER in nodes/widgets.py"


def test_every_setting_of_long_videos_can_be_reached():
    known = widgets("LaVieLongVideoSampler")
    knobs = knobs_of(LongVideoSettings).values()
    assert not [knob.name for knob in knobs if "widget" in knob.front_ends and knob.widget_name not in known]


@pytest.mark.parametrize("name", SAMPLERS)
def test_widgets_at_their_defaults_ask_for_nothing(name):
    node, of = PACK.NODE_CLASS_MAPPINGS[name], part("nodes.widgets")
    knobs = {key: knob for key, knob in of.stage_knobs(node.stages).items() if key not in node.inputs}
    assert of.given(knobs, widgets(name)) == {}
    methods = {key: knob for key, knob in of.method_knobs(node.methods).items() if key not in node.inputs}
    assert of.given(methods, widgets(name)) == {}


def test_a_prompt_from_before_the_newer_inputs_gives_the_same_frames():
    node = PACK.NODE_CLASS_MAPPINGS["LaVieBaseSampler"]
    settings = {"seed": 7, "steps": 2, "guidance_scale": -1.0, "sampler": "default", "spacing": "default"}
    size = {"num_frames": 4, "width": 48, "height": 32, "denoise": 1.0}
    latent, _ = getattr(node(), node.FUNCTION)(**wires("base"), **settings, **size)
    assert torch.equal(latent["samples"], sample())


def test_the_upscaler_makes_the_authors_chunks_when_asked():
    images = clip_of(10, 16, 16)
    whole, chunked = upscale(images, steps=1, seed=3), upscale(images, steps=1, seed=3, chunks="official")
    assert torch.equal(upscale(images[:8], steps=1, seed=3, chunks="official"), chunked[:8])
    assert not torch.equal(whole, chunked)
    assert stage("upscaler").model.model.lavie.config.chunks == "blended"
