"""Writes the tables of inputs in web/docs/<Node>.md from the nodes themselves: python docs/make_help.py

What stands between the two markers is replaced; the rest of a page is written by hand.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "web" / "docs"
START, END = "<!-- inputs -->", "<!-- /inputs -->"
MAX_CHOICES = 12
FILE_LISTS = ("LaVieLoader.model", "LaVieLoraTrainer.model", "LaVieLoraLoader.lora_name")  # differ by computer


def load_pack() -> ModuleType:
    """The node pack, imported as ComfyUI imports it: by its folder."""
    spec = importlib.util.spec_from_file_location(
        "lavie_help", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def table(name: str, node: type) -> str:
    """Of a node's inputs: what each takes, where it stands, and what it means."""
    groups = node.INPUT_TYPES()
    rows = ["| input | takes | default | what it means |", "|---|---|---|---|"]
    for group in ("required", "optional"):
        for key, (kind, options) in groups.get(group, {}).items():
            takes = "a file" if f"{name}.{key}" in FILE_LISTS else _takes(kind, options)
            nothing = "" if group == "required" else "not wired"
            default = _default(options["default"]) if "default" in options else nothing
            meaning = options["tooltip"].replace("|", "\\|")
            rows.append(f"| `{key}` | {takes} | {default} | {meaning} |")
    return "\n".join(rows)


def page_of(name: str, node: type) -> str:
    """The help page of a node with its table up to date."""
    before, rest = (PAGES / f"{name}.md").read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n{table(name, node)}\n{END}{after}"


def _takes(kind: Any, options: dict[str, Any]) -> str:
    if isinstance(kind, list):
        return ", ".join(f"`{value}`" for value in kind[:MAX_CHOICES])
    if kind in ("INT", "FLOAT"):
        most = options["max"]
        return (
            f"{_digits(options['min'])} or more" if most >= 2**31 else f"{_digits(options['min'])} to {_digits(most)}"
        )
    return {"BOOLEAN": "on or off", "STRING": "text"}.get(kind, kind.replace(",", " or "))


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return "" if not value or "\n" in value else f"`{value}`"
    return _digits(value)


def _digits(number: float) -> str:
    return f"{number:.10g}".replace("-", "−") if abs(number) >= 1e-3 or not number else f"{number:g}"


if __name__ == "__main__":
    for name, node in load_pack().NODE_CLASS_MAPPINGS.items():
        (PAGES / f"{name}.md").write_text(page_of(name, node), encoding="utf-8")
