"""Fixtures of the official system: `../shared/reference`, beside the checkout where it is present."""

import json
import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin make tests on busy machines many times slower

import torch
from safetensors.torch import load_file

import lab

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT.parent / "shared" / "reference"

lab.register()  # rendered clips, autoencoders and their suites; plain `lavie` is tested in a process of its own
torch.set_num_threads(max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))


class Golden:
    """One golden file: `weights`, `config`, and tensors by their names."""

    def __init__(self, name: str) -> None:
        if not (REFERENCE / f"{name}.json").exists():
            pytest.skip(f"golden tensors of the official code are not here: {REFERENCE / name}")
        self.sidecar = json.loads((REFERENCE / f"{name}.json").read_text())
        self.tensors = load_file(REFERENCE / f"{name}.safetensors")

    @property
    def config(self) -> dict:
        return self.sidecar["config"]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        prefix = "weights/"
        return {k[len(prefix) :]: v.float() for k, v in self.tensors.items() if k.startswith(prefix)}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def get(self, name: str) -> torch.Tensor | None:
        return self.tensors.get(name)


@pytest.fixture
def golden():
    """Load a golden file of the official code by name, or skip with the reason."""
    return Golden


@pytest.fixture
def key_manifest():
    """Names and shapes of a full-size official model, or skip with the reason."""

    def load(name: str) -> dict[str, list[int]]:
        path = REFERENCE / f"{name}.keys.json"
        if not path.exists():
            pytest.skip(f"key manifests of the official models are not here: {path}")
        return json.loads(path.read_text())

    return load


def relative_error(value: torch.Tensor, truth: torch.Tensor) -> float:
    """Relative L2 error."""
    return ((value.double() - truth.double()).norm() / truth.double().norm()).item()
