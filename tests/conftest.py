"""What every test may ask for: the reference of the official code, and one thread for small networks."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin make tests on busy machines many times slower

import torch
from support import reference

import lab

lab.register()  # rendered clips, autoencoders and their suites; plain `lavie` is tested in a process of its own
torch.set_num_threads(max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))


ROOT = Path(__file__).resolve().parents[1]


class PackIsNoTestPackage:
    """The pack's own __init__.py is what ComfyUI loads; pytest would import it, and fails in a folder named `a-b`."""

    def pytest_collect_directory(self, path, parent):
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config):
    config.pluginmanager.register(PackIsNoTestPackage())


@pytest.fixture(autouse=True, scope="session")
def same_precision_on_every_cpu():
    """float32, unless a test says otherwise: what a test finds must not hang on the processor."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lavie.runtime.device.cpu_has_bfloat16", lambda: False)
        yield


@pytest.fixture
def golden():
    """Load a golden file of the official code by name."""
    return reference.Golden


@pytest.fixture
def key_manifest():
    """Names and shapes of a full-size official model."""
    return reference.key_manifest


@pytest.fixture(scope="module")
def one_thread():
    """Networks of a few channels lose time with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
