"""The extension suite follows a clip over its recursions, and tells what holds from what strays."""

from types import SimpleNamespace

import numpy as np
import pytest

from lab.measures import extension
from lab.measures.extension import GIVEN, RECURSION, course, jump, kept, lasting_scenes
from lab.world.grammar import is_held_out
from lavie.evaluation.report import SuiteRequest


@pytest.fixture(scope="module")
def scenes():
    return lasting_scenes(12, seed=2)


@pytest.fixture(scope="module")
def standing(scenes):
    """A scene before a camera that stands, what is given of it, and two recursions of what follows."""
    scene = next(scene for scene in scenes if scene.camera == "still" and scene.guest is not None)
    frames = course(scene, GIVEN + 2 * RECURSION, 64, 96)
    return scene, frames[:GIVEN], frames[GIVEN:]


def test_what_is_followed_can_go_on_for_ever(scenes):
    assert all(is_held_out(scene) for scene in scenes)
    assert {scene.guest.motion for scene in scenes if scene.guest is not None} == {"hovering"}
    assert {scene.camera for scene in scenes} == {"still", "pan left", "pan right"}


def test_the_true_frames_hold_in_every_recursion(standing):
    for figures in kept(*standing):
        assert all(figures[name] for name in ("place", "time", "weather", "camera", "guests", "colour", "motion"))
        assert figures["colour drift"] < 3
        assert figures["jump"] == pytest.approx(1, abs=0.5)


def test_what_strays_is_told_apart(standing):
    scene, given, truth = standing
    first, second = kept(scene, given, np.concatenate((truth[:RECURSION], (truth[RECURSION:] * 0.8).astype(np.uint8))))
    assert second["colour drift"] > 8 > first["colour drift"]
    assert second["jump"] > 2
    gone = np.broadcast_to(truth[:, :1, :1], truth.shape)
    assert not kept(scene, given, gone)[0]["guests"]


def test_a_step_at_the_joint_is_a_jump():
    frames = np.arange(0, 80, 5, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    assert jump(frames) == pytest.approx(1)
    frames[1:] += 15
    assert jump(frames) == pytest.approx(4)


def test_the_suite_measures_the_training_free_extension_of_the_base_model(monkeypatch):
    monkeypatch.setattr(extension, "RECURSIONS", 2)
    settings, done = {"num_inference_steps": 1}, []
    figures = extension.measure(
        SuiteRequest(
            "lavie-tiny",
            clips=1,
            device="cpu",
            options={"method": "replacement"},
            settings=settings,
            progress=done.append,
        )
    )
    assert sum(done) == 1
    assert list(figures["made"]) == list(figures["true"]) == [1, 2]
    text = extension.show(figures)
    assert "recursion 2, made" in text
    assert "bar" in text


def test_with_a_stage_that_hands_back_the_true_frames_what_was_made_is_what_is_true(monkeypatch):
    family = SimpleNamespace(base=SimpleNamespace(height=64, width=96))
    scenes = lasting_scenes(2, seed=5)

    def truthful(request):
        def extend(given, prompts, seeds, num_frames):
            return np.stack([course(scene, GIVEN + num_frames, 64, 96)[GIVEN:] for scene in scenes])

        return SimpleNamespace(family=family), extend

    monkeypatch.setattr(extension, "_conditioned", truthful)
    monkeypatch.setattr(extension, "RECURSIONS", 2)
    figures = extension.measure(SuiteRequest("any", clips=2, seed=5))
    assert figures["made"] == figures["true"]
