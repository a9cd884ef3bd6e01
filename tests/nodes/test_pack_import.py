"""Importing the pack: quick, silent, and no one broken part takes the rest along."""

import json
import logging
import shutil
import subprocess
import sys
import types

import pytest
import torch
from support import graph
from support.pack import ROOT, load_pack

# What ComfyUI does at its start, without a network, in a folder that must stay as it is.
START = """
import json, os, socket, sys, time

def refuse(*args, **kwargs):
    raise OSError("the network is asked for at import")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import torch

sys.path.insert(0, sys.argv[1] + "/tests")
began = time.process_time()
from support.pack import load_pack

pack = load_pack()
for node in pack.NODE_CLASS_MAPPINGS.values():
    node.INPUT_TYPES()
seconds = time.process_time() - began
print(json.dumps({"seconds": seconds, "nodes": list(pack.NODE_CLASS_MAPPINGS), "modules": list(sys.modules)}))
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A copy of the pack without its weights, started in a fresh interpreter: its report, and the files after it."""
    folder = tmp_path_factory.mktemp("custom_nodes") / "ComfyUI-LaVie"
    left_out = shutil.ignore_patterns("*.safetensors", "__pycache__", ".git", ".venv", "runs")
    shutil.copytree(ROOT, folder, ignore=left_out)
    before = files(folder)
    command = [sys.executable, "-B", "-c", START, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, check=False)
    assert done.returncode == 0, done.stderr
    return types.SimpleNamespace(**json.loads(done.stdout), errors=done.stderr, before=before, after=files(folder))


def files(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_pack_needs_no_network_and_writes_nothing(start):
    assert set(start.nodes) == set(graph.PACK.NODE_CLASS_MAPPINGS)
    assert start.before == start.after
    assert start.errors == ""


@pytest.mark.parametrize("library", ["diffusers", "transformers", "accelerate", "peft", "huggingface_hub"])
def test_what_takes_long_to_import_waits_until_a_model_is_loaded(start, library):
    assert library not in start.modules


def test_the_import_takes_less_than_two_seconds_of_a_processor_beyond_torch(start):
    print(f"the pack is imported in {start.seconds:.2f} s beyond torch")
    assert 0 < start.seconds < 2


@pytest.fixture
def again(monkeypatch):
    """Imports the whole pack once more, under another name, with some of its modules broken."""
    name = "lavie_again"

    def load(*broken):
        for module in broken:
            monkeypatch.setitem(sys.modules, f"{name}.{module}", None)  # importing it raises
        return load_pack(name=name)

    yield load
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


@pytest.mark.parametrize(
    ("theme", "lost"),
    [
        ("lora", {"LaVieLoraLoader"}),
        ("video", {"LaVieTemporalInterpolator", "LaVieVideoUpscaler", "LaVieTextToVideo"}),  # which runs the two
        ("long_video", {"LaVieAutoregressiveExtender", "LaVieLongVideoSampler"}),
        ("example", {"LaVieExampleVideo"}),
        ("text", {"LaVieTextEncode", "LaViePromptSchedule", "LaVieTextToVideo"}),
    ],
)
def test_a_theme_that_cannot_be_imported_leaves_the_rest(again, caplog, theme, lost):
    pack = again(f"nodes.{theme}")
    assert set(graph.PACK.NODE_CLASS_MAPPINGS) - set(pack.NODE_CLASS_MAPPINGS) == lost
    assert set(pack.NODE_DISPLAY_NAME_MAPPINGS) == set(pack.NODE_CLASS_MAPPINGS)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1 + ("LaVieTextToVideo" in lost)
    assert any(f"nodes/{theme}.py could not be loaded; the others work" in each for each in told)


def test_a_library_that_is_missing_leaves_the_rest(again, caplog):
    pack = again("lavie.lora")
    assert "LaVieLoraLoader" not in pack.NODE_CLASS_MAPPINGS
    assert len(pack.NODE_CLASS_MAPPINGS) == len(graph.PACK.NODE_CLASS_MAPPINGS) - 1


def test_a_host_without_native_models_leaves_the_nodes_of_the_stages(monkeypatch, caplog):
    """A future ComfyUI that has moved what a MODEL or a CLIP is made of."""
    for module in ("comfy", "comfy.model_base", "comfy.sd"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    model, clip, _ = graph.run("LaVieLoader")
    told = [record.getMessage() for record in caplog.records]
    assert any("native MODEL" in each and "core samplers and LoRA are off" in each for each in told)
    assert any("native CLIP" in each and "core text nodes are off" in each for each in told)
    positive, negative = graph.run("LaVieTextEncode", clip=clip, prompt=graph.PROMPT)
    made = graph.sample(model=model, positive=positive, negative=negative)
    for module in ("comfy", "comfy.model_base", "comfy.sd"):
        monkeypatch.delitem(sys.modules, module)
    torch.testing.assert_close(made, graph.sample())
