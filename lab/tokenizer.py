"""Builds the tokenizer of the lavie-tiny family: CLIP's byte-level BPE with a given list of whole words."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from lavie.errors import UsageError

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
MAX_LENGTH = 77
BAD_WORD = "The tokenizer word {!r} is neither letters only, nor one digit, nor punctuation only."

Merge = tuple[str, str]


def build_tokenizer(words: Iterable[str], folder: str | Path) -> Path:
    """Writes `vocab.json`, `merges.txt` and two small configs into the folder, which is returned.

    Every given word becomes exactly one token; any other text falls apart into pieces and bytes, never into
    an unknown token. `transformers.CLIPTokenizer.from_pretrained(folder)` reads it; texts are padded to 77
    tokens with `<|endoftext|>`. Raises UsageError for a word that CLIP's pattern would split.
    """
    merges = learn_merges(words)
    tokens = [*byte_alphabet(), *(char + WORD_END for char in byte_alphabet())]
    tokens += [left + right for left, right in merges]
    vocabulary = {token: index for index, token in enumerate([*tokens, START, END])}

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    _write_json(folder / "special_tokens_map.json", special)
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": MAX_LENGTH, "do_lower_case": True}
    _write_json(folder / "tokenizer_config.json", config | special)
    return folder


def learn_merges(words: Iterable[str]) -> list[Merge]:
    """The ordered BPE merges that make every word one token.

    A later merge ranks lower, so it never disturbs a word that earlier merges already join.
    """
    ranks: dict[Merge, int] = {}
    for word in sorted({word.lower() for word in words}):
        if not (word.isalpha() or (len(word) == 1 and word.isnumeric()) or _is_punctuation(word)):
            raise UsageError(BAD_WORD.format(word))
        while len(pieces := _apply(ranks, _symbols(word))) > 1:
            ranks[pieces[0], pieces[1]] = len(ranks)
    return list(ranks)


def byte_alphabet() -> list[str]:
    """One printable character for each byte value 0…255, as in GPT-2's encoder.py: byte b is at index b."""
    spare = iter(range(256, 512))
    return [chr(byte) if _is_printable(byte) else chr(next(spare)) for byte in range(256)]


def _is_printable(byte: int) -> bool:
    return ord("!") <= byte <= ord("~") or (ord("¡") <= byte <= ord("ÿ") and byte != 0xAD)


def _is_punctuation(word: str) -> bool:
    return bool(word) and not any(char.isalnum() or char.isspace() for char in word)


def _symbols(word: str) -> list[str]:
    alphabet = byte_alphabet()
    symbols = [alphabet[byte] for byte in word.encode("utf-8")]
    return [*symbols[:-1], symbols[-1] + WORD_END]


def _apply(ranks: dict[Merge, int], symbols: list[str]) -> list[str]:
    """Byte-pair encoding: joins the pair of the lowest rank, everywhere, until no known pair is left."""
    while known := [pair for pair in pairwise(symbols) if pair in ranks]:
        best = min(known, key=ranks.__getitem__)
        symbols = _join(symbols, best)
    return symbols


def _join(symbols: list[str], pair: Merge) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
