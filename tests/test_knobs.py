"""A setting knows its range, its choices and its stages, and says so in a sentence when it is given something else."""

import json
from dataclasses import dataclass, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavie.config import RELEASED_STAGES, StageConfig, find_family
from lavie.errors import UsageError
from lavie.knobs import KEY, Knob, check_knobs, described, documented, knob, knobs_of
from lavie.long_video import LongVideoSettings
from lavie.speed import EXACT, SPEEDS, Speed
from lavie.stages import STAGES

EVERY = [*knobs_of(StageConfig).values(), *knobs_of(LongVideoSettings).values()]
NUMBERS = [each for each in EVERY if each.minimum is not None]
NAMES = [each for each in EVERY if each.choices]
STAGE_SETTINGS = [(stage, name) for stage in STAGES for name in knobs_of(StageConfig)]
TINY = find_family("lavie-tiny")


def by_name(knob):
    return knob.name


def numbers_of(knob, low, high):
    kind = st.integers if knob.kind is int else st.floats
    return kind(knob.kind(low), knob.kind(high))


# -- one setting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knob", NUMBERS, ids=by_name)
@given(data=st.data())
def test_a_number_in_its_range_is_taken(knob, data):
    knob.check(data.draw(numbers_of(knob, knob.minimum, knob.maximum)))


@pytest.mark.parametrize("knob", NUMBERS, ids=by_name)
@given(data=st.data())
def test_a_number_outside_its_range_is_refused_with_name_range_and_value(knob, data):
    above = numbers_of(knob, knob.maximum + 1, knob.maximum + 1e6)
    below = numbers_of(knob, knob.minimum - 1e6, knob.minimum - 1)
    value = data.draw((above | below).filter(lambda value: value != knob.default))
    with pytest.raises(UsageError) as refusal:
        knob.check(value)
    low, high = (edge if isinstance(edge, int) else f"{edge:g}" for edge in (knob.minimum, knob.maximum))
    assert str(refusal.value).startswith(f"The {knob.words} must be between {low} and {high}, not ")


@pytest.mark.parametrize("knob", [each for each in NUMBERS if each.kind is float], ids=by_name)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_finite_number_is_in_no_range(knob, value):
    with pytest.raises(UsageError, match="must be between"):
        knob.check(value)


def test_a_range_may_be_open_above():
    steps = Knob("How often.", minimum=1, name="max_steps", kind=int)
    steps.check(10**9)
    with pytest.raises(UsageError, match=r"^The max steps must be 1 or more, not 0\.$"):
        steps.check(0)


@pytest.mark.parametrize("knob", NAMES, ids=by_name)
def test_a_name_that_is_none_of_the_choices_is_refused_with_those_there_are(knob):
    for choice in knob.choices:
        knob.check(choice)
    with pytest.raises(UsageError) as refusal:
        knob.check("magic")
    assert str(refusal.value) == f"Unknown {knob.words} 'magic'. Choose {', '.join(knob.choices)}."


@pytest.mark.parametrize("knob", EVERY, ids=by_name)
def test_a_setting_that_is_not_given_is_never_wrong(knob):
    knob.check(None)
    knob.check(knob.default)


@pytest.mark.parametrize(
    "knob",
    [each for each in EVERY if each.off not in (None, each.default) and each.off not in each.choices],
    ids=by_name,
)
def test_the_value_by_which_a_widget_stands_for_the_models_own_is_no_setting(knob):
    with pytest.raises(UsageError):
        knob.check(knob.off)


@pytest.mark.parametrize("knob", EVERY, ids=by_name)
def test_every_setting_is_explained_in_sentences(knob):
    assert knob.help[0].isupper() or knob.help.startswith(knob.choices)  # or the name of a choice
    assert knob.help.endswith(".")


# -- settings ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lamp:
    room: str
    brightness: float = knob(0.5, "How bright it is.", within=(0, 1))
    colour: str | None = knob(None, "Its colour.", choices=("red", "green"))
    shades: tuple[int, ...] = knob((), "Paper around it.", within=(1, 3), many=True, stages=("evening",))


def test_settings_are_the_fields_that_were_declared_as_such_with_their_types_and_defaults():
    assert list(knobs_of(Lamp)) == ["brightness", "colour", "shades"]
    assert [(each.name, each.kind, each.default) for each in knobs_of(Lamp).values()] == [
        ("brightness", float, 0.5),
        ("colour", str, None),
        ("shades", int, ()),
    ]


def test_a_stage_has_the_settings_of_all_stages_and_its_own():
    assert list(knobs_of(Lamp, "morning")) == ["brightness", "colour"]
    assert list(knobs_of(Lamp, "evening")) == ["brightness", "colour", "shades"]


def test_one_wrong_setting_of_many_is_found():
    check_knobs(Lamp("hall", 1.0, "red", (1, 3)))
    for wrong, message in (
        ({"brightness": 2.0}, "brightness must be between 0 and 1, not 2"),
        ({"colour": "blue"}, "Unknown colour 'blue'. Choose red, green"),
        ({"shades": (1, 4)}, "shades must be between 1 and 3, not 4"),
    ):
        with pytest.raises(UsageError, match=message):
            check_knobs(replace(Lamp("hall"), **wrong))
    check_knobs(replace(Lamp("hall"), shades=(1, 4)), "morning")  # a stage without them


def test_a_function_tells_the_settings_it_takes():
    @documented(Lamp)
    def light(**settings):
        """Switch it on."""

    assert light.__doc__.startswith("Switch it on.")
    assert "    brightness: How bright it is. (0…1)\n    colour: Its colour. (one of: red, green)" in light.__doc__


@pytest.mark.parametrize("settings", [*RELEASED_STAGES.values(), LongVideoSettings()], ids=lambda each: str(type(each)))
def test_every_setting_is_described(settings):
    declared = {field.name for field in fields(settings) if KEY in field.metadata}
    made = described(settings)
    assert set(made) == declared
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_describes_its_own_settings_alone(stage):
    config = TINY.stage(stage)
    assert set(config.described(stage)) == set(knobs_of(StageConfig, stage))
    assert ("noise_level" in config.described(stage)) == (stage == "upscaler")
    assert ("num_frames" in config.described(stage)) == (stage == "base")
    assert ("window" in config.described(stage)) == STAGES[stage].windowed
    assert ("tile" in config.described(stage)) == STAGES[stage].tiled


# -- what a stage is asked for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "name"), STAGE_SETTINGS)
def test_a_stage_takes_its_own_settings_and_refuses_those_of_others_by_name(stage, name):
    config = TINY.stage(stage)
    if name in knobs_of(StageConfig, stage):
        assert config.configured(stage, **{name: None}) == config
        return
    with pytest.raises(UsageError) as refusal:
        config.configured(stage, **{name: None})
    assert str(refusal.value).startswith(f"The {stage} stage has no setting {name}. It has: ")
    assert "guidance_scale" in str(refusal.value)


def test_what_is_no_setting_of_any_stage_is_refused_too():
    with pytest.raises(UsageError, match="base stage has no setting fps, steps"):
        TINY.base.configured("base", steps=3, fps=8)


def test_what_is_given_goes_on_top_of_a_speed_whatever_the_order():
    asked = {"num_inference_steps": 7, "speed": "balanced", "scheduler": "euler"}
    made = TINY.base.configured("base", **asked)
    assert made == TINY.base.configured("base", **dict(reversed(asked.items())))
    assert (made.num_inference_steps, made.scheduler, made.speed) == (7, "euler", SPEEDS["balanced"]["base"])


def test_a_wrong_value_is_refused_before_a_stage_is_asked_anything():
    for wrong in ({"guidance_scale": -1.0}, {"window": -1}, {"noise_level": 351}, {"speed": "faster"}):
        with pytest.raises(UsageError):
            TINY.upscaler.configured("upscaler", **wrong)


@given(window=st.integers(1, 40), overlap=st.integers(0, 39))
def test_an_overlap_shrinks_with_its_window_unless_it_is_given(window, overlap):
    config = replace(TINY.interpolation, window=40, overlap=overlap)
    assert config.configured("interpolation", window=window).overlap == min(overlap, window - 1)
    assert config.configured("interpolation", window=window, overlap=39).overlap == 39


def test_what_a_video_says_of_a_speed_can_be_asked_for_again():
    for speed in (EXACT, SPEEDS["fast"]["base"], Speed(0.5, full_every=3)):
        told = json.loads(json.dumps(speed.metadata()))
        assert TINY.base.configured("base", speed=told).speed == speed
    with pytest.raises(UsageError, match="has no setting magic"):
        TINY.base.configured("base", speed={"magic": 1})
