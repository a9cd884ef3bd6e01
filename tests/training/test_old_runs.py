"""A run that an older version began goes on: `old_runs.jsonl` is what version 0.1.0 was asked, and what it recorded."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from support.training_family import make_family

from lavie.cli import _parser
from lavie.config import find_family
from lavie.flags import settings_from
from lavie.training import run_state
from lavie.training.assemble import recorded, stage_settings
from lavie.training.loop import FIXED
from lavie.training.settings import Filters
from lavie.training.target_table import TARGETS

RUNS = [json.loads(line) for line in (Path(__file__).parent / "old_runs.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return find_family(make_family(tmp_path_factory.mktemp("family") / "family"))


def asked(family, arguments, steps=4):
    """The settings of `lavie train ARGUMENTS` as they are now."""
    more = ["--family", str(family.folder), "--run", "run", "--steps", str(steps), "--device", "cpu"]
    args = _parser().parse_args(["train", *arguments, *more])
    return settings_from(args, TARGETS[args.target].settings)


def kept(settings, family):
    """What a run of these settings would record, besides the fingerprint of a LoRA's images."""
    if settings.run.__class__.__name__ == "LoraRun":
        return asdict(replace(settings.loop, save_frozen=False)), settings.lora.recorded()
    return asdict(settings.loop), recorded(settings, stage_settings(settings, family))


def old_run(folder, settings):
    (folder / "checkpoint-2").mkdir(parents=True)
    (folder / "checkpoint-2" / "run.json").write_text('{"step": 2, "seconds": 1}')
    run_state.write_settings(folder, settings)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: " ".join(run["arguments"])[:40])
def test_a_run_of_an_older_version_goes_on_with_the_same_command(family, tmp_path, run):
    old_run(tmp_path, run["settings"])
    loop, more = kept(asked(family, run["arguments"]), family)
    assert run_state.check_settings(tmp_path, loop | more, (*FIXED, *more)) == ["steps 4, before 2"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: " ".join(run["arguments"])[:40])
def test_what_an_older_version_kept_is_still_kept(family, run):
    """All but what the target has no use for, and the fingerprint."""
    loop, more = kept(asked(family, run["arguments"], steps=2), family)
    now = json.loads(json.dumps(loop | more))
    lost = run["settings"].keys() - now.keys()
    assert lost <= {"pictures", "images_per_clip"}
    assert {name: now[name] for name in now.keys() & run["settings"].keys()} == {
        name: value for name, value in run["settings"].items() if name in now
    }


def test_a_lora_that_learns_from_single_images_goes_on_whatever_was_recorded_of_clips(family, tmp_path):
    """Version 0.1.0 recorded no number where --images-per-clip was left out."""
    run = next(run for run in RUNS if run["settings"].get("images_per_clip", 0) is None)
    old_run(tmp_path, run["settings"])
    settings = asked(family, [*run["arguments"], "--images-per-clip", "7"])
    loop, more = kept(settings, family)
    assert run_state.check_settings(tmp_path, loop | more, (*FIXED, *more)) == ["steps 4, before 2"]


def test_clips_encoded_from_shards_by_an_older_version_are_still_known():
    old = "Filters(min_frames=16, min_words=3, min_height=48, min_width=64, min_aesthetic=None)"
    assert Filters(min_size=(48, 64)).fingerprint() == old
