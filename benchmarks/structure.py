"""Counts of a checkout's code: lines, parameters, lengths of functions and files, circles and upward arrows.

    python benchmarks/structure.py [CHECKOUT] [--json FILE]        (needs: pip install import-linter)

What counts:
- Lines are all lines of .py files, comments and blank ones included, as `wc -l` counts them. `FRONT` says which files
  are the plumbing between users and the engine, for the layout of commit bc91704 and for the one after it.
- Functions are all `def` of lavie, nodes, lab and scripts, methods and inner functions too. Parameters are those with
  a name of their own: self and cls count, *args and **kwargs do not. A function's length is from `def` to its last
  line, docstring and inner functions included, decorators not.
- Imports are found by grimp, those inside functions too, those under TYPE_CHECKING not. What `import_module` imports
  by a name made at run time is not seen; its places are listed.
- A circle is a set of modules each of which reaches all others. Those that arise with the imports under TYPE_CHECKING
  are listed on their own.
- An arrow runs up if it goes from a lower layer to a higher one: the layers of pyproject.toml beside this script, then
  nodes, then lab and scripts. `lavie` itself (its re-exports, its __version__) stands between pipelines and training.
  Nodes may enter training by its packages alone: an arrow to a module within one counts as running up.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parents[1]
SCOPE = ("lavie", "nodes", "lab", "scripts")
MANY_PARAMETERS, LONG_FILE = 10, 400

FRONT = {
    "pipelines": (
        *("lavie/pipelines/**/*.py", "lavie/long_video/**/*.py"),
        *("lavie/knobs.py", "lavie/stages.py", "lavie/job.py", "lavie/checks.py"),
    ),
    "nodes": ("nodes/**/*.py",),
    "cli": ("lavie/cli/**/*.py", "lavie/flags.py", "lavie/argument_types.py"),
    "train front end": (
        *("lavie/training/cli.py", "lavie/training/cli/**/*.py", "lavie/training/arguments.py"),
        *("lavie/training/options.py", "lavie/training/options/**/*.py", "lavie/training/commands/**/*.py"),
        *("lavie/training/assemble.py", "lavie/training/**/command.py", "lab/**/command.py"),
        *(
            "lavie/training/settings.py",
            "lavie/training/lora/settings.py",
            "lavie/training/target*.py",
            "lab/**/targets.py",
        ),
    ),
}
OUTSIDE = (("nodes",), ("lab", "scripts"))  # layers above those of pyproject.toml


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", nargs="?", type=Path, default=ROOT, help="default: where this script lies")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args()
    found = structure(args.checkout.resolve())
    for name, value in found.items():
        print(f"{name}: {len(value)}" if isinstance(value, list) else f"{name}: {value}")
        for row in value if isinstance(value, list) else ():
            print(f"    {row}")
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def structure(checkout: Path) -> dict[str, Any]:
    """Every figure by its name; a list holds what is counted."""
    front = {name: {path for pattern in of for path in checkout.glob(pattern)} for name, of in FRONT.items()}
    files = [path for folder in SCOPE for path in sorted((checkout / folder).rglob("*.py"))]
    functions = sorted((row for path in files for row in functions_of(path, checkout)), reverse=True)
    lengths = sorted(length for length, _, _ in functions)
    lines = {path: line_count(path) for path in files}
    found: dict[str, Any] = {
        **{f"lines of {name}": sum(map(line_count, paths)) for name, paths in front.items()},
        "lines of these": sum(map(line_count, set().union(*front.values()))),
        **{
            f"lines in {folder}/": sum(lines[path] for path in files if folder_of(path, checkout) == folder)
            for folder in SCOPE
        },
        "functions": str(len(functions)),
        f"functions with {MANY_PARAMETERS} or more parameters": [
            f"{count} {place}"
            for _, count, place in sorted(functions, key=lambda row: -row[1])
            if count >= MANY_PARAMETERS
        ],
        "longest function": "{0} lines, {2}".format(*functions[0]),
        "lines of a function, median": percentile(lengths, 50),
        "lines of a function, 90th percentile": percentile(lengths, 90),
        f"files above {LONG_FILE} lines": [
            f"{count} {path.relative_to(checkout)}" for path, count in lines.items() if count > LONG_FILE
        ],
    }
    return found | imports(checkout)


def line_count(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def folder_of(path: Path, checkout: Path) -> str:
    return path.relative_to(checkout).parts[0]


def functions_of(path: Path, checkout: Path) -> Iterator[tuple[int, int, str]]:
    """Lines, parameters and place of every function in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
            yield node.end_lineno - node.lineno + 1, count, f"{path.relative_to(checkout)}:{node.lineno} {node.name}"


def percentile(values: list[int], share: int) -> int:
    """The smallest value that `share` percent do not exceed; values in order."""
    return values[math.ceil(len(values) * share / 100) - 1]


def imports(checkout: Path) -> dict[str, list[str]]:
    """Circles, upward arrows, modules without a layer, and imports that cannot be seen."""
    arrows = arrows_of(checkout)
    ranks = layer_ranks()
    packages = {name.rpartition(".")[0] for pair in arrows for name in pair}
    up, unknown = [], set()
    for (importer, imported), line in sorted(arrows.items()):
        low, high = (ranks.get(layer_of(name)) for name in (importer, imported))
        unknown |= {layer_of(name) for name, rank in ((importer, low), (imported, high)) if rank is None}
        if low is not None and high is not None and low < high:
            up.append(f"{importer} -> {imported} (line {line})")
        inner = imported.startswith("lavie.training.") and imported not in packages
        if layer_of(importer) == "nodes" and inner:
            up.append(f"{importer} -> {imported} (line {line}, past training's packages)")
    return {
        "import circles": circles(arrows),
        "import circles, with type hints": circles(arrows_of(checkout, with_hints=True)),
        "upward arrows": up,
        "in no layer": sorted(unknown),
        "imports by a name made at run time": sorted(unseen(checkout)),
    }


def circles(arrows: dict[tuple[str, str], int]) -> list[str]:
    import networkx

    parts = networkx.strongly_connected_components(networkx.DiGraph(list(arrows)))
    return sorted(" <-> ".join(sorted(part)) for part in parts if len(part) > 1)


def arrows_of(checkout: Path, with_hints: bool = False) -> dict[tuple[str, str], int]:
    """Who imports whom, and in which line first; with_hints: under TYPE_CHECKING, too.

    The pack's folder is itself a package, named as the user likes, which nodes rely on: `..lavie`. So the code is read
    twice, below a package `pack` and as packages of its own, and both are laid over each other.
    """
    import grimp

    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), {}
        (folder / "pack").mkdir()
        (folder / "pack" / "__init__.py").touch()
        roots = [root for root in SCOPE if (checkout / root / "__init__.py").exists()]
        for root in roots:
            for target in (folder / root, folder / "pack" / root):
                shutil.copytree(checkout / root, target, ignore=all_but_python)
        shutil.rmtree(folder / "nodes", ignore_errors=True)  # cannot be read but below pack
        sys.path.insert(0, name)
        try:
            alone = [root for root in roots if root != "nodes"]
            graph = grimp.build_graph("pack", *alone, exclude_type_checking_imports=not with_hints, cache_dir=None)
        finally:
            sys.path.remove(name)
        for importer in graph.modules:
            for imported in graph.find_modules_directly_imported_by(importer):
                details = graph.get_import_details(importer=importer, imported=imported)
                line = min((detail["line_number"] for detail in details), default=0)
                found[importer.removeprefix("pack."), imported.removeprefix("pack.")] = line
    return found


def all_but_python(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()]


def layer_ranks() -> dict[str, int]:
    """Layers, the lowest 0, from the contract in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    rows = [row.replace("(", "").replace(")", "").split(" : ") for row in settings["contracts"][0]["layers"][::-1]]
    layers = [[f"lavie.{name}" for name in row] for row in rows]
    layers.insert(next(i for i, row in enumerate(layers) if "lavie.training" in row), ["lavie"])
    return {name: rank for rank, row in enumerate([*layers, *OUTSIDE]) for name in row}


def layer_of(module: str) -> str:
    """'lavie.models' of lavie.models.unet, 'nodes' of nodes.host."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "lavie" else 1])


def unseen(checkout: Path) -> Iterator[str]:
    for path in (path for root in SCOPE for path in (checkout / root).rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if "import_module(" in line:
                yield f"{PurePath(path.relative_to(checkout)).as_posix()}:{number}"


if __name__ == "__main__":
    sys.exit(main())
