"""Writes the tables of inputs in web/docs/<Node>.md from the nodes themselves: python docs/make_help.py

What stands between the two markers is replaced; the rest of a page is written by hand. web/docs/<Node>/zh.md is the
page in Chinese, its table made of locales/zh (make_locales.py). Its last line names the English page that it translates
by a hash; if that page has changed since, this script says so.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "web" / "docs"
START, END = "<!-- inputs -->", "<!-- /inputs -->"
MAX_CHOICES = 12
MODELS = ("LaVieLoader", "LaVieCascadeLoader", "LaVieTextToVideo", "LaVieLoraTrainer")
FILE_LISTS = (*(f"{name}.model" for name in MODELS), "LaVieLoraLoader.lora_name")  # differ by computer


def load_pack() -> ModuleType:
    """The node pack, imported as ComfyUI imports it: by its folder."""
    spec = importlib.util.spec_from_file_location(
        "lavie_help", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


WORDS = {
    "en": {
        "head": "| input | takes | default | what it means |",
        "renamed": "`{}` (`{}`)",
        "file": "a file",
        "unwired": "not wired",
        "BOOLEAN": "on or off",
        "STRING": "text",
        "range": "{} to {}",
        "least": "{} or more",
        "or": " or ",
        "list": ", ",
        "advanced": "*(advanced)*",
        True: "on",
        False: "off",
    },
    "zh": {
        "head": "| 输入 | 取值 | 默认值 | 说明 |",
        "renamed": "{} (`{}`)",
        "file": "文件",
        "unwired": "未连接",
        "BOOLEAN": "开或关",
        "STRING": "文本",
        "range": "{} 到 {}",
        "least": "{} 以上",
        "or": " 或 ",
        "list": "、",
        "advanced": "*（高级）*",
        True: "开",
        False: "关",
    },
}


def table(name: str, node: type, language: str = "en") -> str:
    """Of a node's inputs: their names, what each takes, where it stands, and what it means."""
    groups, words = node.INPUT_TYPES(), WORDS[language]
    shown = _shown(language).get(name, {}).get("inputs", {})
    rows = [words["head"], "|---|---|---|---|"]
    for group in ("required", "optional"):
        for key, (kind, options) in groups.get(group, {}).items():
            texts = {"name": key, "tooltip": options["tooltip"], **shown.get(key, {})}
            label = f"`{key}`" if texts["name"] == key else words["renamed"].format(texts["name"], key)
            takes = words["file"] if f"{name}.{key}" in FILE_LISTS else _takes(kind, options, words)
            nothing = "" if group == "required" else words["unwired"]
            default = _default(options["default"], words) if "default" in options else nothing
            meaning = texts["tooltip"].replace("|", "\\|")
            label += f" {words['advanced']}" if options.get("advanced") else ""
            rows.append(f"| {label} | {takes} | {default} | {meaning} |")
    return "\n".join(rows)


def file_of(name: str, language: str = "en") -> Path:
    """The help page of a node, where ComfyUI looks for it."""
    return PAGES / f"{name}.md" if language == "en" else PAGES / name / f"{language}.md"


def page_of(name: str, node: type, language: str = "en") -> str:
    """The help page of a node with its table up to date."""
    before, _, after = _parts(file_of(name, language))
    return f"{before}{START}\n{table(name, node, language)}\n{END}{after}"


def newer_than(name: str, language: str) -> str | None:
    """The hash of the English page, without its table, if another one than in the last line of the translation."""
    before, _, after = _parts(file_of(name))
    number = hashlib.sha256((before + after).encode()).hexdigest()[:8]
    translated = re.search(r"<!-- of (\w+) -->", file_of(name, language).read_text(encoding="utf-8"))
    return None if translated and translated[1] == number else number


def _parts(page: Path) -> tuple[str, str, str]:
    before, rest = page.read_text(encoding="utf-8").split(START)
    old, after = rest.split(END)
    return before, old, after


def _shown(language: str) -> dict[str, Any]:
    return json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def _takes(kind: Any, options: dict[str, Any], words: dict[Any, str]) -> str:
    if isinstance(kind, list):
        return words["list"].join(f"`{value}`" for value in kind[:MAX_CHOICES])
    if kind in ("INT", "FLOAT"):
        least, most = _digits(options["min"]), options["max"]
        return words["least"].format(least) if most >= 2**31 else words["range"].format(least, _digits(most))
    return words.get(kind, kind.replace(",", words["or"]))


def _default(value: Any, words: dict[Any, str]) -> str:
    if isinstance(value, bool):
        return words[value]
    if isinstance(value, str):
        return "" if not value or "\n" in value else f"`{value}`"
    return _digits(value)


def _digits(number: float) -> str:
    return f"{number:.10g}".replace("-", "−") if abs(number) >= 1e-3 or not number else f"{number:g}"


def main() -> None:
    for name, node in load_pack().NODE_CLASS_MAPPINGS.items():
        for language in WORDS:
            file = file_of(name, language)
            if not file.exists():
                print(f"{file.relative_to(ROOT)}: not written; ComfyUI shows the English page")
                continue
            file.write_text(page_of(name, node, language), encoding="utf-8")
            if language != "en" and (number := newer_than(name, language)):
                print(f"{file.relative_to(ROOT)}: translate anew, then end it with <!-- of {number} -->")


if __name__ == "__main__":
    main()
