"""Writes locales/<language>/nodeDefs.json, the nodes in other languages: python docs/make_locales.py

ComfyUI shows them by the language of its settings. The translations stand in docs/locales/<language>.json, each beside
its English text. What is new is added there, empty, to be filled in; what no node says any more is taken out. Until a
changed text is translated again, its place keeps the old translation. Everything to do is listed, and the script then
exits with 1.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # for those who import this file by its path

from make_help import ROOT, load_pack

LANGUAGES = ("zh", "ja", "ko")
# In English, what ComfyUI's own nodes call otherwise. The inputs' keys stay: workflow files hold them.
HOST_WORDS = {
    "guidance_scale": "cfg",
    "sampler": "sampler_name",
    "spacing": "scheduler",
    "num_frames": "length",
    "dtype": "weight_dtype",
}
CONTROL = "control_after_generate"  # the widget that ComfyUI adds to a seed

Texts = dict[str, Any]


def inputs_of(node: type) -> Iterator[tuple[str, str | None]]:
    """Each input's key and tooltip; ComfyUI's own widget under a seed has none."""
    for group in node.INPUT_TYPES().values():
        for key, (_, options) in group.items():
            yield key, options["tooltip"]
            if options.get(CONTROL):
                yield CONTROL, None


class Catalogue:
    """The translations of one language, what the nodes showed before, and what is found missing."""

    def __init__(self, language: str) -> None:
        self.file = ROOT / "docs" / "locales" / f"{language}.json"
        self.shown = ROOT / "locales" / language / "nodeDefs.json"
        self.before = _read(self.shown)
        self.filled = _read(self.file)
        self.used: dict[str, Texts] = {"titles": {}, "inputs": {}, "outputs": {}, "texts": {}}
        self.to_do: list[str] = []

    def find(self, group: str, word: str, place: str, *path: str) -> str:
        """The translation of an English text, a title, or the name of an input or output ("Node.key" before "key")."""
        own = f"{place.split('.')[0]}.{word}"
        key = own if group in ("inputs", "outputs") and own in self.filled.get(group, {}) else word
        found = self.filled.get(group, {}).get(key, "")
        self.used[group][key] = found
        if not found:
            found = _at(self.before, place.split(".")[0], *path) or ""
            self.to_do.append(f"{place}: {'changed' if found else 'missing'}: {word}")
        return found

    def definition(self, name: str, title: str, node: type) -> Texts:
        """What nodeDefs.json says of a node. Places without any translation are left out: ComfyUI shows English."""
        inputs: Texts = {}
        for key, tooltip in inputs_of(node):
            place = f"{name}.{key}"
            inputs[key] = {"name": self.find("inputs", key, place, "inputs", key, "name")}
            if tooltip:
                inputs[key]["tooltip"] = self.find("texts", tooltip, place, "inputs", key, "tooltip")
        outputs: Texts = {}
        for number, (key, tooltip) in enumerate(zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True)):
            place, at = f"{name}.{key}", ("outputs", str(number))
            outputs[at[1]] = {
                "name": self.find("outputs", key, place, *at, "name"),
                "tooltip": self.find("texts", tooltip, place, *at, "tooltip"),
            }
        described = {
            "display_name": self.find("titles", title, name, "display_name"),
            "description": self.find("texts", node.DESCRIPTION, name, "description"),
        }
        return _without_empty({**described, "inputs": inputs, "outputs": outputs})


def english(node: type) -> Texts:
    """The host's words for a node's inputs and outputs, and the tooltips that name one of them."""
    inputs = {key: _in_host_words(key, tooltip) for key, tooltip in inputs_of(node)}
    pairs = zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True)
    outputs = {str(number): _in_host_words(*pair) for number, pair in enumerate(pairs)}
    return _without_empty({"inputs": inputs, "outputs": outputs})


def _in_host_words(key: str, tooltip: str | None) -> Texts:
    keys = "|".join(word for word in HOST_WORDS if "_" in word)  # the others are words of English, too
    changed = re.sub(rf"\b({keys})\b", lambda found: HOST_WORDS[found[0]], tooltip or "")
    return {"name": HOST_WORDS.get(key, ""), "tooltip": changed if changed != tooltip else ""}


def _without_empty(texts: Texts) -> Texts:
    kept = {key: _without_empty(value) if isinstance(value, dict) else value for key, value in texts.items()}
    return {key: value for key, value in kept.items() if value}


def _at(texts: Texts, *path: str) -> Any:
    for key in path:
        texts = texts.get(key, {})
    return texts


def _read(file: Path) -> Texts:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _write(file: Path, texts: Texts) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(texts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    pack = load_pack()
    nodes, titles = pack.NODE_CLASS_MAPPINGS, pack.NODE_DISPLAY_NAME_MAPPINGS
    shown = {name: english(node) for name, node in nodes.items()}
    _write(ROOT / "locales" / "en" / "nodeDefs.json", _without_empty(shown))
    to_do = []
    for language in LANGUAGES:
        catalogue = Catalogue(language)
        shown = {name: catalogue.definition(name, titles[name], node) for name, node in nodes.items()}
        _write(catalogue.shown, shown)
        _write(catalogue.file, catalogue.used)
        to_do += [f"{language} {line}" for line in catalogue.to_do]
    print("\n".join(to_do) or "Everything is translated.")
    return 1 if to_do else 0


if __name__ == "__main__":
    sys.exit(main())
