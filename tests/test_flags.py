"""Flags from knobs: a field of a dataclass is all that a command line needs."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from lavie.cli import _parser
from lavie.errors import UsageError
from lavie.flags import add_flags, flags_of, given, part, refuse_flags, settings_from, size
from lavie.knobs import REQUIRED, knob, same_knob
from lavie.training.target_table import TARGETS


@dataclass(frozen=True, kw_only=True)
class Oven:
    """One knob of every kind."""

    dish: str = knob(REQUIRED, "what to bake", metavar="NAME")
    heat: float = knob(180.0, "how hot, 100 % being normal", within=(50, 250), aliases=("temperature",))
    minutes: int = knob(30, "how long", within=(1, None))
    racks: tuple[int, ...] = knob((1, 2), "which racks", within=(1, 5), many=True, metavar="N")
    window: tuple[float, float] | None = knob(None, "when", many=2, within=(0, 24), unset="now")
    tray: tuple[int, int] | None = knob(None, "its size", parse=size, metavar="HxW")
    spices: tuple[str, ...] = knob((), "what to add; repeatable", flag="spice", many="append")
    mode: str = knob("fan", "which mode", choices=("fan", "grill"))
    light: bool = knob(False, "switch the light on")
    book: Path | None = knob(None, "a recipe")
    secret: int = knob(7, "never on the command line", front_ends=("widget",))
    steam: int = knob(0, "only combination ovens have it", stages=("combination",))
    inner: int = 3


@dataclass(frozen=True)
class Dinner:
    oven: Oven = part("the oven", minutes=45, inner=4)


def parser_of(settings, **options):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, settings, **options)
    return parser


def typed(*arguments):
    return [*map(str, arguments), "--dish", "bread"]


def test_what_the_user_types_is_what_the_settings_hold():
    arguments = typed(
        *("--temperature", 200, "--racks", 1, 3, 5, "--window", 8, 9.5, "--tray", "16x24", "--book", "a/b"),
        *("--spice", "salt", "--spice", "pepper", "--mode", "grill", "--light"),
    )
    oven = settings_from(parser_of(Oven).parse_args(arguments), Oven)
    assert (oven.heat, oven.racks, oven.window, oven.tray) == (200.0, (1, 3, 5), (8.0, 9.5), (16, 24))
    assert (oven.spices, oven.mode, oven.light, oven.book) == (("salt", "pepper"), "grill", True, Path("a/b"))


def test_what_the_user_leaves_out_is_not_given_and_the_dataclass_knows_its_defaults():
    args = parser_of(Oven).parse_args(typed())
    assert given(args, Oven) == {"dish": "bread"}
    assert settings_from(args, Oven) == Oven(dish="bread")


def test_a_part_has_defaults_of_its_own_also_where_there_is_no_flag():
    parser = parser_of(Dinner)
    oven = settings_from(parser.parse_args(typed()), Dinner).oven
    assert (oven.minutes, oven.inner, oven.heat) == (45, 4, 180.0)
    assert settings_from(parser.parse_args(typed("--minutes", 5)), Dinner).oven.minutes == 5
    assert "the oven:" in parser.format_help()
    assert "how long (default: 45)" in parser.format_help()


def test_only_knobs_of_the_stage_and_of_the_command_line_are_flags():
    assert not {"--secret", "--inner"} & flags_of(Oven).keys()
    assert "--steam" in parser_of(Oven, stage="combination").format_help()
    assert "--steam" not in parser_of(Oven, stage="plain").format_help()
    few = parser_of(Oven, names=("heat", "dish")).format_help()
    assert "--heat" in few
    assert "--minutes" not in few


def test_the_help_tells_range_and_default():
    text = " ".join(parser_of(Oven).format_help().split())
    for told in (
        *("100 % being normal (50…250; default: 180)", "which racks (1…5; default: 1 2)", "when (0…24; default: now)"),
        *(
            "switch the light on",
            "--spice TEXT what to add; repeatable",
            "--mode {fan,grill} which mode (default: fan)",
        ),
    ):
        assert told in text
    assert "(50…250; default: the model's own)" in " ".join(
        parser_of(Oven, defaults={"heat": "the model's own"}).format_help().split()
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--heat", "300"), "must be between 50 and 250, not 300"),
        (("--heat", "nan"), "must be between 50 and 250"),
        (("--minutes", "0"), "must be 1 or more, not 0"),
        (("--minutes", "1.5"), "'1.5' is no whole number"),
        (("--heat", "warm"), "'warm' is no number"),
        (("--racks", "1", "9"), "between 1 and 5, not 9"),
        (("--tray", "large"), "'large' is no size"),
        (("--mode", "steam"), "fan"),
    ],
)
def test_a_value_outside_the_range_is_refused_in_a_sentence(arguments, told):
    with pytest.raises(argparse.ArgumentError, match=told):
        parser_of(Oven).parse_args(typed(*arguments))


@examples(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_every_number_within_the_range_and_none_beyond_is_taken(value):
    parser, arguments = parser_of(Oven), typed(f"--heat={value!r}")
    if 50 <= value <= 250:
        assert settings_from(parser.parse_args(arguments), Oven).heat == value
    else:
        with pytest.raises(argparse.ArgumentError):
            parser.parse_args(arguments)


@examples(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_lists_come_back_as_they_were_typed(racks):
    assert given(parser_of(Oven).parse_args(typed("--racks", *racks)), Oven)["racks"] == tuple(racks)


def test_a_flag_that_belongs_elsewhere_is_refused_with_its_sentence_and_not_shown(capsys):
    parser = argparse.ArgumentParser()
    refuse_flags(parser, {"--knead": "--knead is for the mixer"})
    assert "--knead" not in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["--knead", "10"])
    assert "--knead is for the mixer" in capsys.readouterr().err


def test_the_same_knob_elsewhere_keeps_its_range_and_changes_what_is_said():
    @dataclass(frozen=True)
    class Grill:
        heat: float = same_knob(Oven, "heat", 220.0, help="hotter")

    told = parser_of(Grill).format_help()
    assert "hotter (50…250; default: 220)" in told
    with pytest.raises(argparse.ArgumentError, match="between 50 and 250"):
        parser_of(Grill).parse_args(["--heat", "10"])


# -- lavie train -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_the_help_of_a_target_shows_its_flags_and_no_others(name, capsys):
    with pytest.raises(SystemExit):
        _parser().parse_args(["train", name, "--help"])
    text = capsys.readouterr().out
    shown = {word.strip("[],") for word in text.split() if word.startswith(("--", "[--"))}
    assert flags_of(TARGETS[name].settings).keys() <= shown
    others = {flag for target in TARGETS.values() for flag in flags_of(target.settings)}
    usage = text.partition("\n\n")[0]
    listed = {word.strip("[],") for word in usage.split() if word.startswith(("--", "[--"))}
    assert not listed & (others - flags_of(TARGETS[name].settings).keys())


@pytest.mark.parametrize("name", TARGETS)
def test_every_flag_of_another_target_is_refused_and_says_where_it_belongs(name):
    own = flags_of(TARGETS[name].settings).keys()
    for target in TARGETS.values():
        for flag in flags_of(target.settings).keys() - own:
            with pytest.raises(UsageError, match=f"{flag} is not for `lavie train {name}`, only for "):
                _parser().parse_args(["train", name, flag])


def test_the_flags_of_version_0_1_are_all_there():
    flags = """family init videos images curriculum frames size fps patch cut-scenes cache workers precompute
        precompute-text min-frames min-words min-size min-aesthetic images-per-clip image-weight anchor-share
        text-dropout loss-weight sprite-weight conditioning max-noise-level handheld-share train lora-rank train-text
        steps batch micro-batch learning-rate optimizer schedule warmup ema mixed-precision gradient-checkpointing
        output trigger lora-alpha lora-targets prior-prompt prior-images prior-weight class-word prior-frames
        random-crops crop-scale camera-move run save-every log-every sample-every export prompt seed device threads"""
    assert {f"--{flag}" for flag in flags.split()} <= {
        flag for target in TARGETS.values() for flag in flags_of(target.settings)
    }


def test_the_help_of_train_loads_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, lavie.training.cli, lavie.training.lora.settings; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1], check=True)
