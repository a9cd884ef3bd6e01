"""The tokenizer of lavie-tiny: known words are one token each, and no text is unknown."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from lab.tokenizer import build_tokenizer, byte_alphabet, learn_merges
from lavie.errors import UsageError

WORDS = [
    "a",
    "red",
    "green",
    "ball",
    "moving",
    "left",
    "over",
    "grass",
    "bobobo",
    "aaaa",
    "car",
    "cart",
    "card",
    "scar",
    "café",
    "7",
    ",",
    ".",
    "...",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tokenizer(WORDS, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return CLIPTokenizer.from_pretrained(folder)


def tokens(tokenizer, text):
    return tokenizer(text)["input_ids"][1:-1]


@pytest.mark.parametrize("word", WORDS)
def test_every_given_word_is_exactly_one_token(tokenizer, word):
    assert len(tokens(tokenizer, word)) == 1


def test_a_sentence_has_as_many_tokens_as_words_and_reads_back(tokenizer):
    sentence = "a green ball moving over grass"
    ids = tokenizer(sentence)["input_ids"]
    assert len(ids) == len(sentence.split()) + 2
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == sentence


def test_capitals_read_as_small_letters(tokenizer):
    assert tokens(tokenizer, "Red BALL") == tokens(tokenizer, "red ball")


def test_an_unknown_word_falls_into_several_pieces_and_reads_back(tokenizer):
    ids = tokens(tokenizer, "zebra")
    assert len(ids) > 1
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == "zebra"


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=40).filter(lambda t: "<|" not in t))
def test_no_text_is_unknown(tokenizer, text):
    assert tokenizer.unk_token_id not in tokens(tokenizer, text)


def test_padding_is_the_end_token_up_to_77(tokenizer):
    ids = tokenizer("a red ball", padding="max_length")["input_ids"]
    assert len(ids) == 77
    assert set(ids[5:]) == {tokenizer.eos_token_id}


@settings(max_examples=20, deadline=None)
@given(words=st.lists(st.text("abc", min_size=1, max_size=7), min_size=1, max_size=30))
def test_words_that_share_pieces_do_not_break_each_other(words, tmp_path_factory):
    tokenizer = CLIPTokenizer.from_pretrained(build_tokenizer(words, tmp_path_factory.mktemp("words")))
    assert all(len(tokens(tokenizer, word)) == 1 for word in words)


def test_the_same_words_in_any_order_give_the_same_files(folder, tmp_path):
    again = build_tokenizer(reversed(WORDS), tmp_path)
    for file in folder.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes()


def test_the_vocabulary_numbers_are_dense(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert len(set(byte_alphabet())) == 256


@pytest.mark.parametrize("word", ["", "two words", "b2b", "42", "don't"])
def test_a_word_that_clip_would_split_is_refused(word):
    with pytest.raises(UsageError, match="neither letters only"):
        learn_merges([word])
