"""Runs the graphs of table.py in ComfyUI, without a server. Run by test_wires.py with ComfyUI's Python:

    python tests/comfyui/wires COMFYUI BASE_DIRECTORY [PACK …]

The last line printed that begins with { is JSON: what happened to every line of the table; see `graphs.outcomes`. PACK
is the folder of another node pack, to be loaded as ComfyUI does. BASE_DIRECTORY takes files; nothing else is written.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from pathlib import Path


def start(comfyui: Path, base: Path) -> None:
    """As ComfyUI's main.py begins."""
    sys.argv[1:] = ["--cpu", "--disable-api-nodes", "--base-directory", str(base)]
    sys.path[1:1] = [str(comfyui), str(Path(__file__).parents[2])]
    os.chdir(base)
    import comfy.options

    importlib.import_module("utils.install_util")  # before nodes.py puts another `utils` in its place

    comfy.options.enable_args_parsing()


async def load_nodes(packs: list[Path]) -> None:
    import server
    from support.pack import load_pack

    import nodes as core

    server.PromptServer(asyncio.get_running_loop())  # packs add routes to it
    await core.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False)
    core.NODE_CLASS_MAPPINGS.update(load_pack().NODE_CLASS_MAPPINGS)
    for pack in packs:
        await core.load_custom_node(str(pack))  # one that fails is in the log, and its nodes are missing


def main(packs: list[Path]) -> None:
    asyncio.run(load_nodes(packs))
    import things
    import torch

    things.make_files()
    from graphs import outcomes

    with torch.inference_mode():  # as ComfyUI executes nodes
        print(json.dumps(outcomes(packs={pack.name for pack in packs})))


if __name__ == "__main__":
    comfyui, base, *packs = (Path(argument).resolve() for argument in sys.argv[1:])
    start(comfyui, base)
    main(packs)
