"""Download the released weights from huggingface.co, after you have seen their licences and agreed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..config import released_folder

HELP = "download the released weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="What to download, by its name in --list. 'lavie' is the whole cascade.",
    )
    parser.add_argument("--list", action="store_true", help="Show what there is, how large, and under which licence.")
    parser.add_argument("--dest", type=Path, metavar="FOLDER", help=f"Where to put it. (default: {released_folder()})")
    parser.add_argument("--yes", action="store_true", help="Accept the licences without being asked.")
    parser.add_argument("--quiet", action="store_true", help="Show no progress.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")


def run(args: argparse.Namespace) -> int:
    if args.list:
        return _print_catalogue(args.names, args.json)
    from ..checkpoints.download import download

    places = download(args.names, args.dest or released_folder(), args.yes or _ask, progress=not args.quiet)
    print(json.dumps({"files": [str(place) for place in places]}) if args.json else "\n".join(map(str, places)))
    return 0


def _ask(licences: str) -> bool:
    print(licences, file=sys.stderr)
    if not sys.stdin.isatty():
        return False
    print("Do you accept? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _print_catalogue(names: list[str], as_json: bool) -> int:
    from ..checkpoints.catalog import CATALOG, GROUPS, releases

    chosen = [_entry(release) for release in releases(names or CATALOG)]
    if as_json:
        print(json.dumps({"releases": chosen, "groups": GROUPS}))
        return 0
    for entry in chosen:
        size = f"{entry['bytes'] / 1e9:.1f} GB" if entry["bytes"] else ""
        print(f"{entry['name']:<30}{size:>8}  {entry['title']}. Licence: {entry['licence']} ({entry['licence_url']})")
    for name, members in GROUPS.items():
        print(f"{name:<30}{'':>8}  {', '.join(members)}")
    return 0


def _entry(release: Any) -> dict[str, Any]:
    return {
        "name": release.name,
        "title": release.title,
        "bytes": release.size,
        "page": release.page,
        "licence": release.licence.name,
        "licence_url": release.licence.url,
    }
