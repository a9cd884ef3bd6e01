"""Two processes with half of the examples each do what one does with all of them.

DDP and FSDP 2, on the CPU over gloo. accelerate (1.15) looks at its FSDP settings only where it finds a GPU or the
like; `small_training.shard_on_cpu` lifts that, and all else is the code that runs on GPUs.
"""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch
from support.small_training import SCRIPT, TENTH_OF_A_STEP, read_log, run, shard_on_cpu

from lavie.errors import UsageError
from lavie.training import run_state

pytest.importorskip("accelerate")
pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo"),
    pytest.mark.usefixtures("one_thread"),
]


def launch(folder, kind, runs):
    """Two processes, as torchrun starts them, that make these runs one after another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "SHARD_ON_CPU": "2" if kind == "fsdp" else ""}
    command = [sys.executable, str(SCRIPT), str(folder), json.dumps(runs)]
    return [
        subprocess.Popen(
            command,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]


def finish(processes, code):
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [code] * 2, outputs


def wait_for(process, words):
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"the process ended before '{words}'")


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def together(request, tmp_path_factory):
    """The runs of two processes: one that a signal to the second process stopped and that went on, and whole ones."""
    folder = tmp_path_factory.mktemp(request.param)
    processes = launch(folder, request.param, {"parts": {"steps": 6, "pause": 0.3}})
    wait_for(processes[0], "step 2")
    processes[1].send_signal(signal.SIGTERM)
    finish(processes, 128 + signal.SIGTERM)
    stopped_after = run_state.checkpoints(folder / "parts")[-1].name
    runs = {"parts": {"steps": 6}, "whole": {"steps": 6}, "at once": {}, "in micro-batches": {"micro_batch": 1}}
    finish(launch(folder, request.param, runs), 0)
    return folder, stopped_after


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process with all examples."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, run(folder).model.state_dict()


def weights_of(folder):
    return torch.load(folder / "weights.pt", weights_only=True)


@pytest.mark.parametrize("name", ["at once", "in micro-batches"])
def test_two_processes_learn_what_one_learns(together, alone, name):
    reference, expected = alone
    folder = together[0] / name
    for line, truth in zip(read_log(folder), read_log(reference), strict=True):
        for term in ("step", "total", "video", "image", "gradient_norm", "learning_rate"):
            assert line[term] == pytest.approx(truth[term], rel=1e-5, abs=1e-5), term
    weights = weights_of(folder)
    assert weights.keys() == expected.keys()
    for key, weight in expected.items():
        torch.testing.assert_close(weights[key], weight, atol=TENTH_OF_A_STEP, rtol=0, msg=key)


def test_a_signal_to_one_process_stops_both_and_they_go_on_to_the_last_bit(together):
    folder, stopped_after = together
    assert 2 <= int(stopped_after.removeprefix("checkpoint-")) < 6
    losses = [[line["total"] for line in read_log(folder / name)] for name in ("parts", "whole")]
    assert losses[0] == losses[1]
    parts, whole = weights_of(folder / "parts"), weights_of(folder / "whole")
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


@pytest.mark.parametrize(("version", "changes", "message"), [(1, {}, "FSDP 2"), (2, {"optimizer": "muon"}, "Muon")])
def test_what_cannot_be_sharded_is_refused(tmp_path, monkeypatch, version, changes, message):
    from accelerate.state import AcceleratorState

    monkeypatch.setattr(AcceleratorState, "__init__", AcceleratorState.__init__)
    shard_on_cpu(version)
    with pytest.raises(UsageError, match=message):
        run(tmp_path, **changes)
