"""The tables of docs/wires.md, from table.py: `PYTHONPATH=tests python tests/comfyui/wires/page.py` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from rows import Section
from table import SECTIONS

PAGE = Path(__file__).parents[3] / "docs" / "wires.md"
BOTH = "| node | LaVie's samplers | KSampler | |\n|---|---|---|---|"
ONE = "| node | | |\n|---|---|---|"


def table(section: Section) -> str:
    lines = [BOTH if section.socket else ONE]
    for row in section.rows:
        results = (row.ours, row.core) if section.socket else (row.core,)
        pack = f" ({row.pack})" if row.pack else ""
        lines.append(f"| {row.node}{pack} | {' | '.join(results)} | {row.note} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with every table as table.py has it, each between a mark with its section's title and one that ends
    it."""
    for section in SECTIONS:
        mark, end = f"<!-- {section.title} -->\n", "\n<!-- end -->"
        before, _, rest = page.partition(mark)
        page = f"{before}{mark}{table(section)}{end}{rest.partition('<!-- end -->')[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
