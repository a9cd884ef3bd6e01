"""Prompts over time: how they are written, and what the frames between them are told."""

from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavie.errors import UsageError
from lavie.sampling import PromptSchedule, seeded

WORDS = st.text(st.characters(whitelist_categories=("L", "Zs"), max_codepoint=0x2FF), min_size=1).map(str.strip)
PROMPTS = WORDS.filter(bool)
FRAMES = st.lists(st.integers(1, 500), max_size=5, unique=True).map(lambda frames: [0, *sorted(frames)])
BALL_AND_STAR = ((0, "a red ball"), (16, "a blue star"))


@pytest.mark.parametrize(
    "text",
    [
        "0: a red ball, 16: a blue star",
        "0:a red ball,16:a blue star",
        "0: a red ball\n16: a blue star\n",
        "\n 0 : a red ball\r\n\r\n 16 :  a blue star ",
        "0: a red ball, 16: a blue star,",
    ],
)
def test_prompts_are_written_in_one_line_or_one_a_line(text):
    prompts = PromptSchedule.parse(text.removesuffix(","))
    assert prompts.entries == BALL_AND_STAR
    assert (prompts.frames, prompts.prompts) == ((0, 16), ("a red ball", "a blue star"))


def test_a_prompt_may_hold_commas_and_colons():
    one_line = PromptSchedule.parse("0: a ball, red: bright, over grass, 8: a star, 2 moons")
    assert one_line.entries == ((0, "a ball, red: bright, over grass"), (8, "a star, 2 moons"))
    lines = PromptSchedule.parse("0: a clock, 12: it says\n9: a star")
    assert lines.entries == ((0, "a clock, 12: it says"), (9, "a star"))


@given(frames=FRAMES, prompts=st.lists(PROMPTS, min_size=6, max_size=6), lines=st.booleans())
def test_what_is_written_is_read_back(frames, prompts, lines):
    entries = tuple(zip(frames, prompts, strict=False))
    text = ("\n" if lines else ", ").join(f"{frame}: {prompt}" for frame, prompt in entries)
    prompts = PromptSchedule.parse(text)
    assert prompts.entries == entries
    assert PromptSchedule.parse(str(prompts)) == prompts


@given(frames=st.lists(st.integers(-3, 40), min_size=1, max_size=6))
def test_frames_that_do_not_rise_from_0_are_refused(frames):
    text = ", ".join(f"{frame}: a ball" for frame in frames)
    if frames[0] == 0 and all(before < after for before, after in pairwise(frames)):
        assert PromptSchedule.parse(text).frames == tuple(frames)
        return
    with pytest.raises(UsageError):
        PromptSchedule.parse(text)


@given(text=st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    with suppress(UsageError):
        prompts = PromptSchedule.parse(text)
        assert prompts.frames[0] == 0
        assert all(prompts.prompts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty. Write it"),
        ("  \n ", "is empty. Write it"),
        ("a red ball", "'a red ball' is no prompt with its first frame"),
        ("0: a red ball\nand a star", "'and a star' is no prompt"),
        ("4: a red ball", "begin at frame 4. Give one for frame 0"),
        ("0: a red ball, 0: a star", "Two prompts begin at frame 0"),
        ("0: a, 9: b, 5: c", "at frame 5 comes after that at frame 9"),
        ("-1: a red ball", "cannot begin at frame -1"),
        ("0: a red ball, 4: ", "The prompt at frame 4 is empty"),
    ],
)
def test_what_is_no_schedule_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        PromptSchedule.parse(text)


def test_prompts_are_read_from_a_file(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("0: a red ball\n16: a blue star\n", encoding="utf-8")
    assert PromptSchedule.read(file).entries == BALL_AND_STAR
    with pytest.raises(UsageError, match="cannot be read"):
        PromptSchedule.read(tmp_path / "nothing.txt")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        PromptSchedule.read(file)


STATES = torch.randn(2, 5, 3, generator=seeded(1))


def test_without_a_transition_every_frame_has_its_prompt_exactly():
    states = PromptSchedule(BALL_AND_STAR).over_time(STATES, 20)
    assert states.shape == (1, 20, 5, 3)
    assert all(torch.equal(states[0, frame], STATES[int(frame >= 16)]) for frame in range(20))


def test_a_transition_leads_linearly_to_the_next_prompt():
    states = PromptSchedule(BALL_AND_STAR).over_time(STATES, 20, transition=3)[0]
    for frame, weight in {12: 0, 13: 0.25, 14: 0.5, 15: 0.75, 16: 1, 19: 1}.items():
        torch.testing.assert_close(states[frame], torch.lerp(*STATES, weight))


@given(frames=FRAMES, transition=st.integers(0, 40))
def test_every_prompt_stands_alone_at_its_first_frame_and_weights_sum_to_one(frames, transition):
    prompts = PromptSchedule(tuple((frame, f"prompt {frame}") for frame in frames))
    weights = prompts.over_time(torch.eye(len(frames))[:, None], frames[-1] + 2, transition)[0, :, 0]
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
    assert torch.equal(weights[list(frames)], torch.eye(len(frames)))
    assert weights.min() >= 0
    assert (weights > 0).sum(1).max() <= 2


def test_a_prompt_after_the_end_and_a_negative_transition_are_refused():
    with pytest.raises(UsageError, match="begins at frame 16, but there are 16 frames"):
        PromptSchedule(BALL_AND_STAR).over_time(STATES, 16)
    with pytest.raises(UsageError, match="0 frames or more"):
        PromptSchedule(BALL_AND_STAR).over_time(STATES, 17, -1)
