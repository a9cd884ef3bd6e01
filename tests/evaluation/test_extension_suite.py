"""The extension suite follows a clip as long as it can be followed, and tells what holds from what strays."""

from types import SimpleNamespace

import numpy as np
import pytest

from lab.sprites import MOTIONS
from lab.sprites.continuation import LASTING, PASSING, RECURSION, course, strayed
from lab.sprites.suites import extension
from lab.sprites.suites.extension import scenes_of
from lavie.evaluation.report import SuiteRequest


def courses(motions, recursions=2, seed=1):
    return [course(scene, 64, 96, recursions) for scene in scenes_of(motions, len(motions), seed)]


@pytest.fixture(scope="module")
def lasting():
    return courses(LASTING)


@pytest.fixture(scope="module")
def passing():
    return courses(PASSING)


def test_every_motion_lasts_or_passes():
    assert sorted((*LASTING, *PASSING)) == sorted(MOTIONS)


def test_what_lasts_is_followed_all_the_way_and_what_passes_until_the_border(lasting, passing):
    assert [len(each.truth) for each in lasting] == [2 * RECURSION] * 3
    assert all(8 <= len(each.truth) <= RECURSION for each in passing)
    assert [len(each.given) for each in (lasting[0], passing[0])] == [16, 4]


@pytest.mark.parametrize("recursion", [0, 1])
def test_the_true_frames_hold_in_every_recursion(lasting, recursion):
    for followed in lasting:
        figures = strayed(followed, followed.truth, recursion)
        assert all(figures[name] == 1 for name in extension.SHARES)
        assert figures["colour drift"] < 4
        assert figures["background drift"] < 2
        assert figures["place drift"] < 1.5
        assert figures["jump"] < 6


def test_the_true_frames_of_what_passes_keep_their_pace(passing):
    for followed in passing:
        figures = strayed(followed, followed.truth, 0)
        assert all(figures[name] == 1 for name in extension.SHARES), followed.scene.motion
        assert figures["pace"] == pytest.approx(1, abs=0.2)
        assert figures["pace at the joint"] == pytest.approx(1, abs=0.8)
        assert strayed(followed, followed.truth, 1) is None


def test_a_clip_that_stops_has_no_pace(passing):
    mover = next(each for each in passing if each.scene.motion == "moving right")
    stopped = mover.given[-1:].repeat(RECURSION, axis=0)
    figures = strayed(mover, stopped, 0)
    assert abs(figures["pace"]) < 0.05
    assert figures["motion"] == 0
    assert (figures["colour"], figures["shape"]) == (1, 1)


def test_a_clip_that_turns_back_goes_at_a_negative_pace(passing):
    mover = next(each for each in passing if each.scene.motion == "moving left")
    figures = strayed(mover, np.concatenate((mover.given[::-1], mover.given[:1].repeat(11, axis=0))), 0)
    assert figures["pace"] < -0.1


def test_what_strays_is_told_apart(lasting):
    still = next(each for each in lasting if each.scene.motion == "standing still")
    moved = np.roll(still.truth, 6, axis=2)
    figures = strayed(still, moved, 0)
    assert figures["place drift"] == pytest.approx(6, abs=1)
    assert figures["jump"] == pytest.approx(6, abs=1)
    darker = (still.truth * 0.8).astype(np.uint8)
    figures = strayed(still, darker, 1)
    assert figures["background drift"] > 10
    assert figures["colour drift"] > 8
    empty = still.truth[:, :1].repeat(64, axis=1)
    assert strayed(still, empty, 1)["found"] == 0
    assert "colour drift" not in strayed(still, empty, 1)


def test_the_suite_measures_the_training_free_extension_of_the_base_model(monkeypatch):
    monkeypatch.setattr(extension, "RECURSIONS", 2)
    settings = {"num_inference_steps": 1}
    done = []
    request = SuiteRequest(
        "lavie-tiny", clips=1, device="cpu", options={"method": "replacement"}, settings=settings, progress=done.append
    )
    figures = extension.measure(request)
    assert sum(done) == 2
    assert list(figures["lasting"]["judge"]) == [1, 2]
    assert figures["lasting"]["judge"][2]["background"] == 1
    assert set(figures["passing"]["judge"]) == {1}
    text = extension.show(figures)
    assert "recursion 2, made" in text
    assert "pace at the joint" in text


def test_the_suite_measures_the_extension_stage(monkeypatch):
    """With a stage that hands back the true frames, what was made is what is true."""
    family = SimpleNamespace(base=SimpleNamespace(height=64, width=96))

    def truthful(request):
        def extend(followed, prompts, seeds, num_frames):
            whole = [np.concatenate((each.truth, each.truth[-1:].repeat(num_frames, axis=0))) for each in followed]
            return np.stack([frames[:num_frames] for frames in whole])

        return SimpleNamespace(family=family), extend

    monkeypatch.setattr(extension, "_conditioned", truthful)
    monkeypatch.setattr(extension, "RECURSIONS", 2)
    figures = extension.measure(SuiteRequest("any", clips=2))
    for kind, recursions in (("lasting", 2), ("passing", 1)):
        for recursion in range(1, recursions + 1):
            made, true = (figures[kind][way][recursion] for way in ("generated", "judge"))
            assert made == pytest.approx(true, abs=1e-3)
            assert made["clips"] == 2
