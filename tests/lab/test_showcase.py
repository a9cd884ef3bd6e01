"""What shows a family off: its images are of one form, and every workflow has one."""

from pathlib import Path

import numpy as np

from lab import showcase
from lab.world.captions import caption

ROOT = Path(__file__).resolve().parents[2]


def test_every_workflow_that_makes_a_video_has_an_image():
    names = {file.stem for file in (ROOT / "workflows").glob("*.json")}
    assert names - {"Train a LoRA"} == set(showcase.WORKFLOWS)  # that one trains for a quarter of an hour


def test_an_image_shows_the_first_and_the_last_of_four_frames():
    frames = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.full((1, 64, 96, 3), 16, np.uint8)
    image = np.asarray(showcase.square(frames))
    assert image.shape == (516, 772, 3)
    assert [image[10, 10, 0], image[-10, -10, 0]] == [0, 240]


def test_the_same_prompt_is_shown_for_the_workflows_with_seeds_of_their_own(tmp_path, monkeypatch):
    asked = []

    def make(studio, seed):
        asked.append(seed)
        return np.zeros((5, 64, 96, 3), np.uint8)

    monkeypatch.setattr(showcase, "WORKFLOWS", {"one": make, "two": make})
    showcase.workflows(showcase.Studio("any"), tmp_path)
    assert asked == [0, 1, 2, 3]
    assert {file.name for file in tmp_path.rglob("*.jpg")} == {"one.jpg", "two.jpg", "workflows.jpg"}


def test_the_examples_are_videos_of_what_their_names_say(tmp_path):
    showcase.examples(tmp_path)
    assert len(list(tmp_path.glob("*.mp4"))) == 4
    for name, scene in showcase.EXAMPLES.items():
        assert f"{scene.visitor.colour} {scene.visitor.kind}" in caption(scene)
        assert name.startswith(f"{scene.visitor.colour} {scene.visitor.kind}")
