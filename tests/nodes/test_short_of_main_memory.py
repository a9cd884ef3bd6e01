"""When the computer's own memory runs out, a node goes on in smaller parts and says so, as on a graphics card."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.graph import clip_of, interpolate, network, part, refused, run, sample, upscale

TORCHS = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "16 bytes. Error code 12 (Cannot allocate memory)"
)
LACKS = {
    "Linux": RuntimeError(TORCHS),
    "Windows": RuntimeError("data. DefaultCPUAllocator: not enough memory: you tried to allocate 16 bytes."),
    "Apple": RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)."),
    "Python": MemoryError(),
}


@pytest.fixture
def limited(monkeypatch):
    """Lets a stage's network run out of memory above so many frames or halves at once."""

    def limit(name, error, batch=99, frames=9999):
        unet = network(name)
        forward = unet.forward

        def run_out(x, *args, **kwargs):
            if len(x) > batch or x.shape[2] > frames:
                raise error
            return forward(x, *args, **kwargs)

        monkeypatch.setattr(unet, "forward", run_out)

    return limit


@pytest.mark.parametrize("error", LACKS.values(), ids=LACKS)
def test_exact_means_come_first(limited, caplog, error):
    whole = sample()
    limited("base", error, batch=1)
    torch.testing.assert_close(sample(), whole, atol=2e-3, rtol=1e-3)
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == ["LaVie ran out of memory"]


def test_then_smaller_windows(limited, caplog):
    limited("interpolation", LACKS["Linux"], frames=17)
    assert len(interpolate(clip_of(8, 16, 16), guidance_scale=2.0)) == 29
    assert ["Windows of" in record.getMessage() for record in caplog.records] == [False, False, True]


def test_then_a_sentence_with_advice(limited):
    limited("upscaler", LACKS["Linux"], batch=0)
    refused(
        lambda: upscale(clip_of(2, 16, 16)), r"ran out of memory, even in its smallest steps\. Lower window or tile"
    )


def test_a_true_lack_anywhere_in_a_node_is_a_sentence(monkeypatch):
    inputs = part("nodes.latents")
    monkeypatch.setattr(inputs, "decode", lambda *_: torch.empty(2**46))
    refused(
        lambda: run("LaVieVAEDecode", samples={"samples": torch.zeros(1, 4, 1, 2, 2)}, vae=object()),
        "LaVie ran out of memory. Make the video smaller or shorter",
    )


LIMITED = """
import json, logging, resource, sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
import torch
from support.graph import clip_of, part, stage, upscale

torch.set_num_threads(1)
stage("upscaler")
upscale(clip_of(1, 16, 16))

def size(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024

notes = []
handler = logging.Handler()
handler.emit = lambda record: notes.append(record.getMessage())
logging.getLogger().addHandler(handler)
before, share = size("VmSize"), float(sys.argv[1])
if share:
    allowed = before + int(share * float(sys.argv[2]))
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
try:
    made, error = upscale(clip_of(8, 64, 64), steps=1, guidance_scale=2.0, window=8, overlap=1), ""
    mean = made.mean().item()
except part("lavie.errors").LavieError as told:
    mean, error = None, str(told)
print(json.dumps({{"taken": size("VmPeak") - before, "notes": notes, "mean": mean, "error": error}}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's address space")
def test_under_a_real_limit_the_upscaler_goes_on_in_smaller_parts_and_at_last_says_so():
    def limited(share, taken=0.0):
        script = LIMITED.format(root=str(Path(__file__).parents[2]))
        command = [sys.executable, "-c", script, str(share), str(taken)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    free = limited(0)
    assert (free["notes"], free["error"]) == ([], "")
    short = [limited(share, free["taken"]) for share in (0.95, 0.85, 0.75)]  # how the system rounds is not ours to say
    helped = [each for each in short if each["notes"] and not each["error"]]
    assert helped
    for each in helped:
        assert "the result stays the same" in each["notes"][0]
        assert each["mean"] == pytest.approx(free["mean"], abs=0.01)
    assert "ran out of memory" in limited(0.02, free["taken"])["error"]
