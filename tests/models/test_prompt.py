"""Prompt syntax: ComfyUI's weights; long prompts end their chunks at commas and words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavie.models.prompt import LOOK_BACK, Token, parse_weights, split_chunks


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("", []),
        ("a red ball", [("a red ball", 1.0)]),
        ("a (red) ball", [("a ", 1.0), ("red", 1.1), (" ball", 1.0)]),
        ("a (red:1.3) ball", [("a ", 1.0), ("red", 1.3), (" ball", 1.0)]),
        ("(red: 0.5 )", [("red", 0.5)]),
        ("(red:.5)", [("red", 0.5)]),
        ("(red:-1)", [("red", -1.0)]),
        ("((red))", [("red", 1.1 * 1.1)]),
        ("(a (red:1.3) ball:0.5)", [("a ", 0.5), ("red", 1.3), (" ball", 0.5)]),
        ("((a ball):0.5)", [("a ball", 0.5 * 1.1)]),
        (r"a ball \(red\)", [("a ball (red)", 1.0)]),
        (r"(a \(red\):1.2)", [("a (red)", 1.2)]),
        (r"a\b \\", [(r"a\b \\", 1.0)]),
        ("(3:4:1.5)", [("3:4", 1.5)]),
        ("at 12:30", [("at 12:30", 1.0)]),
    ],
)
def test_weights_are_read_as_comfyui_reads_them(prompt, pieces):
    found = parse_weights(prompt)
    assert [text for text, _ in found] == [text for text, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a (red ball", [("a (red ball", 1.0)]),
        ("a red) ball", [("a red) ball", 1.0)]),
        (")(", [(")(", 1.0)]),
        ("((red)", [("(", 1.0), ("red", 1.1)]),
        ("(:1.3)", [(":1.3", 1.1)]),
        ("()", []),
        ("(red:)", [("red:", 1.1)]),
        ("(red:nan)", [("red:nan", 1.1)]),
        ("(red:1e9)", [("red:1e9", 1.1)]),
        ("(red:1,5)", [("red:1,5", 1.1)]),
        ("(red:١)", [("red:١", 1.1)]),
        ("(red:1000)", [("red", 100.0)]),
        ("(red:-1000)", [("red", -100.0)]),
    ],
)
def test_what_is_no_weight_is_plain_text(prompt, pieces):
    assert parse_weights(prompt) == pieces


@given(st.text("()\\:.-+1e a,", max_size=60))
def test_any_text_has_finite_weights_and_keeps_its_letters(prompt):
    pieces = parse_weights(prompt)
    assert all(abs(weight) <= 100 for _, weight in pieces)
    assert "".join(text for text, _ in pieces).count("a") == prompt.count("a")


@pytest.mark.parametrize("prompt", ["(" * 20_000 + "a" + ")" * 20_000, "(a:" + "1" * 20_000 + "x)", "(a)" * 20_000])
def test_a_prompt_that_is_a_trap_is_read_fast(prompt):
    assert all(abs(weight) <= 100 for _, weight in parse_weights(prompt))


def words(count, comma_after=(), ending="</w>"):
    return [Token(i, ",</w>" if i in comma_after else f"w{ending}", 1.0) for i in range(count)]


def test_a_prompt_that_fits_is_one_chunk():
    assert split_chunks([], 75) == [[]]
    assert split_chunks(words(75), 75) == [words(75)]


def test_a_chunk_ends_after_the_last_near_comma():
    first, second = split_chunks(words(100, comma_after=(10, 60, 70)), 75)
    assert (len(first), len(second)) == (71, 29)
    first, second = split_chunks(words(100, comma_after=(10,)), 75)
    assert (len(first), len(second)) == (75, 25)


def test_a_chunk_does_not_break_a_word():
    tokens = words(70) + words(10, ending="")
    assert [len(chunk) for chunk in split_chunks(tokens, 75)] == [70, 10]


def test_a_word_longer_than_the_look_back_is_broken():
    tokens = words(200, ending="")
    assert [len(chunk) for chunk in split_chunks(tokens, 75)] == [75, 75, 50]


@given(st.lists(st.sampled_from(["a", "b</w>", ",</w>"]), max_size=300), st.integers(LOOK_BACK + 1, 75))
def test_chunks_keep_every_token_in_order(pieces, size):
    tokens = [Token(i, piece, 1.0) for i, piece in enumerate(pieces)]
    chunks = split_chunks(tokens, size)
    assert [token for chunk in chunks for token in chunk] == tokens
    assert all(0 < len(chunk) <= size for chunk in chunks[:-1])
