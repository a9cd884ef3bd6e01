"""Hostile and damaged files in the loader nodes of a running ComfyUI: a sentence on the node, and the queue goes on."""

import json

import pytest
from fuzz.run import CORPUS, content
from support.bombs import LORAS, MODELS
from support.checkout import COMFYUI, NEEDS_COMFYUI, PYTHON
from support.pack import ROOT
from support.server import serving
from support.workflow import to_prompt

pytestmark = NEEDS_COMFYUI
MUTANTS = 6  # of each reader of weights
SMALL = {"LaVieBaseSampler": {"num_frames": 2, "steps": 1}}
MEMORY = 300_000  # kB that a refused file may leave or take beyond what a good prompt takes


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(COMFYUI, PYTHON, tmp_path_factory.mktemp("comfyui")) as running:
        yield running


def written(folder, bombs, readers):
    """Every bomb and some mutants, in a folder of models; their names there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in bombs.items():
        write(folder / name)
    for reader, suffix in readers.items():
        for number in range(MUTANTS):
            (folder / f"{reader} {number}{suffix}").write_bytes(content(reader, number))
    for path in CORPUS.iterdir():
        if path.name.rpartition("-")[0] in readers:
            (folder / path.name).write_bytes(path.read_bytes())
    return sorted(path.name for path in folder.iterdir())


def prompt_with(server, workflow, node, widget, value, seed):
    prompt = to_prompt(
        json.loads((ROOT / "workflows" / f"{workflow}.json").read_text("utf-8")), server.json("/object_info")
    )
    for each in prompt.values():
        each["inputs"].update(SMALL.get(each["class_type"], {}))
        if each["class_type"] == "LaVieBaseSampler":
            each["inputs"]["seed"] = seed
        if each["class_type"] == node and value is not None:
            each["inputs"][widget] = value
    return prompt


@pytest.mark.parametrize(
    ("workflow", "node", "widget", "folder", "bombs", "readers"),
    [
        (
            "Text to video",
            "LaVieLoader",
            "model",
            "lavie",
            MODELS,
            {"safetensors": ".safetensors", "unet": ".safetensors", "pt": ".pt"},
        ),
        ("LoRA", "LaVieLoraLoader", "lora_name", "loras", LORAS, {"lora": ".safetensors"}),
    ],
    ids=["models", "LoRAs"],
)
def test_no_file_stops_the_queue(server, workflow, node, widget, folder, bombs, readers):
    names = written(server.base / "models" / folder, bombs, readers)
    prefix = "lavie/" if folder == "lavie" else ""
    assert server.run(prompt_with(server, workflow, node, widget, None, 0)).succeeded
    before, told = server.memory(), {}
    for seed, name in enumerate(names):
        run = server.run(prompt_with(server, workflow, node, widget, prefix + name, 1 + seed), 120)
        if not run.succeeded:
            assert run.error["exception_type"].split(".")[-1] in ("UsageError", "LavieError"), (name, run.error)
            told[name] = run.error["exception_message"]
    assert set(bombs) - {"pattern.safetensors"} <= set(told)
    assert all(message.replace("\n", "").isprintable() for message in told.values())
    assert server.memory() - before < MEMORY
    assert not list(server.base.rglob("pwned"))
    assert server.run(prompt_with(server, workflow, node, widget, None, 99)).succeeded
    print(f"{len(names)} files, {len(told)} refused, {(server.memory() - before) / 1000:+.0f} MB at the peak")
