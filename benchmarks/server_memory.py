"""Whether the memory of a ComfyUI server with the pack stays flat over many mixed prompts. Linux, on the CPU.

    COMFYUI_PATH=… COMFYUI_PYTHON=… python benchmarks/server_memory.py [--prompts 100] [--json FILE]

Small clips by workflows of the pack, with other seeds, lengths and sizes each time, some with a wrong input; resident
memory is read after each. Prints the slope of the last three quarters, by least squares.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.checkout import COMFYUI, PYTHON
from support.pack import ROOT
from support.server import Server, serving
from support.workflow import to_prompt

WORKFLOWS = ("Text to video", "LoRA", "Prompts over time", "Image to video", "Core KSampler", "Full cascade")
WRONG = 0.1  # share of the prompts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(COMFYUI, PYTHON, Path(folder) / "base") as server:
        megabytes = [after(server, number) for number in range(args.prompts)]
    late = megabytes[args.prompts // 4 :]
    slope = float(np.polyfit(range(len(late)), late, 1)[0])
    print(f"{args.prompts} prompts: {megabytes[0]:.0f} MB after the first, {late[0]:.0f} MB after a quarter, ", end="")
    print(f"{megabytes[-1]:.0f} MB at the end, {max(megabytes):.0f} MB at most; slope {slope:+.2f} MB a prompt")
    if args.json:
        args.json.write_text(json.dumps({"megabytes": megabytes, "slope": slope}))


def after(server: Server, number: int) -> float:
    """Resident memory in MB after one more prompt."""
    random = Random(number)
    name = random.choice(WORKFLOWS)
    run = server.run(mixed(server, name, random))
    megabytes = server.memory(most=False) / 1000
    print(f"{number:3d} {name:20s} {'made' if run.succeeded else 'refused':8s} {megabytes:7.0f} MB", flush=True)
    return megabytes


def mixed(server: Server, name: str, random: Random) -> dict:
    """The workflow with small random settings, or now and then an impossible one."""
    content = (ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8")
    prompt = to_prompt(json.loads(content), server.json("/object_info"))
    steps, wrong = random.choice([1, 2]), random.random() < WRONG
    frames, height, width = random.choice([1, 2, 4]), random.choice([32, 64]), random.choice([32, 64, 96])
    small = {"steps": steps, "num_frames": frames, "height": height, "width": width, "seed": random.getrandbits(32)}
    small["length"] = frames
    for node in prompt.values():
        inputs = node["inputs"]
        inputs.update({key: value for key, value in small.items() if isinstance(inputs.get(key), int)})
        if wrong and node["class_type"].startswith("LaVie") and "steps" in inputs:
            inputs["steps"] = 0
    return prompt


if __name__ == "__main__":
    main()
