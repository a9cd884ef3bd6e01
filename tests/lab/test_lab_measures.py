"""What lavie-tiny is measured by: scenes nobody trained on, words that are swapped, tables and sheets."""

import numpy as np
import pytest

from lab.judge.accuracy import right, shares
from lab.judge.judge import Reading
from lab.measures.fidelity import table
from lab.measures.gap import SWAPS
from lab.measures.held_out import HeldOutClips, filmed
from lab.measures.lora import read_right
from lab.measures.samples import held_out_scenes
from lab.measures.sheet import sheet
from lab.world.captions import caption
from lab.world.grammar import is_held_out, scene_of
from lab.world.newcomer import prompt_of, scenes_like, visited
from lab.world.render import frame_seconds


def test_prompts_are_of_combinations_that_training_never_sees():
    assert all(is_held_out(scene) for scene in held_out_scenes(30))
    assert held_out_scenes(3) == held_out_scenes(5)[:3]


@pytest.mark.parametrize("word", SWAPS)
def test_a_swapped_word_changes_the_caption_and_nothing_else(word):
    fixed, swap = SWAPS[word]
    scene = next(scene_of(7, number, **fixed(number)) for number in range(4, 8) if number % 5 < 3)
    words, others = caption(scene).split(), caption(swap(scene)).split()
    assert words != others
    assert abs(len(words) - len(others)) <= 1


def test_a_reading_is_held_against_its_scene():
    scene = scene_of(3, 1, kind="kite", motion="moving left", colour="red")
    names = {name: getattr(scene, name) for name in ("place", "time", "weather", "camera")}
    good = Reading(**names, guests=1, kind="kite", colour="red", motion="moving left", steady=True, overlap=0.9)
    found = right(scene, good)
    assert all(found[name] for name in ("place", "guests", "kind", "colour", "direction", "steady"))
    bad = Reading(**names, guests=2, kind="balloon", colour="red", motion="moving right")
    found = right(scene, bad)
    assert not any(found[name] for name in ("guests", "kind", "direction", "steady"))


def test_shares_are_of_the_clips_that_have_a_guest():
    rows = [{"place": True, "kind": True}, {"place": False}, {"place": True, "kind": False}]
    assert shares(rows) == {"place": pytest.approx(2 / 3), "kind": pytest.approx(1 / 2)}


def test_the_table_shows_bars_and_the_judge_beside_what_was_made():
    text = table({"place": 0.5, "flicker": 3.0}, {"place": 1.0, "flicker": 2.0})
    assert "50.0 %" in text
    assert "97.0 %" in text
    assert "150.0 %" in text


def test_a_sheet_has_a_row_for_each_clip():
    clips = [np.full((16, 64, 96, 3), shade, np.uint8) for shade in (0, 100, 200)]
    assert sheet(clips, frames=4, columns=2, scale=1).size == (2 * 4 * 96, 2 * 64)


def test_the_clips_of_the_suites_are_the_same_scene_at_every_length_and_size():
    clips = HeldOutClips(3, seed=4)
    small, large = clips.reduced(1, 32, 48, 4)
    assert (small.shape, large.frames.shape) == ((8, 32, 48, 3), (8, 128, 192, 3))
    means = small.mean((1, 2), dtype=float) - large.frames.mean((1, 2), dtype=float)
    assert abs(means).max() < 2
    whole = clips.clip(1, 61, 32, 48)
    assert (whole.frames[26:34] == small).all()
    assert whole.caption == clips.caption(1) == large.caption
    assert (whole.subject is None) == (clips.scenes[1].guest is None)


def test_a_new_guest_is_told_from_all_that_are_known():
    scenes = [visited(scene) for scene in scenes_like(8, seed=3)]
    clips = [filmed(scene, frame_seconds(16)) for scene in scenes]
    found = read_right(scenes, clips)
    assert (found["kind"], found["colour"], found["motion"]) == (1, 1, 1)
    known = scenes_like(8, seed=3)
    assert read_right(known, [filmed(scene, frame_seconds(16)) for scene in known])["kind"] == 1
    assert prompt_of(scenes[0], "zwx") == caption(known[0]).replace("red balloon", "zwx")
