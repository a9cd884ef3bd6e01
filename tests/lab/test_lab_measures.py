"""What lavie-tiny is measured by: scenes nobody trained on, words that are swapped, tables and sheets."""

import numpy as np
import pytest

from lab.judge.accuracy import right, shares
from lab.judge.judge import Reading
from lab.measures.fidelity import table
from lab.measures.gap import SWAPS
from lab.measures.samples import held_out_scenes
from lab.measures.sheet import sheet
from lab.world.captions import caption
from lab.world.grammar import is_held_out, scene_of


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
