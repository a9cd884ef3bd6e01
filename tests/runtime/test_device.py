"""Which precision a device is given when nobody asks for one."""

import numpy as np
import pytest
import torch

from lavie.pipelines import TextToVideoPipeline
from lavie.runtime import choose_dtype, vae_dtype
from lavie.runtime.device import cpu_has_bfloat16

CPU, CARD = torch.device("cpu"), torch.device("cuda")
has_bfloat16 = cpu_has_bfloat16()  # before the suite's own fixture says no


@pytest.mark.parametrize(("computes", "chosen"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_gets_bfloat16_if_it_computes_with_it(monkeypatch, computes, chosen):
    monkeypatch.setattr("lavie.runtime.device.cpu_has_bfloat16", lambda: computes)
    assert choose_dtype("auto", CPU) == choose_dtype(None, CPU) == chosen
    assert choose_dtype("auto", CARD) == torch.float16
    assert choose_dtype("float32", CPU) == torch.float32


def test_the_vae_follows_the_network_only_into_bfloat16_on_a_cpu():
    assert vae_dtype(torch.bfloat16, CPU) == torch.bfloat16
    assert vae_dtype(torch.float16, CPU) == torch.float32
    assert vae_dtype(torch.bfloat16, CARD) == vae_dtype(torch.float16, CARD) == torch.float32


@pytest.mark.skipif(not has_bfloat16, reason="slow on a processor without bfloat16")
def test_a_clip_in_bfloat16_is_the_clip_of_float32_to_the_eye():
    exact, near = (
        TextToVideoPipeline.from_pretrained("lavie-tiny", device="cpu", dtype=dtype)("a red balloon", seed=1).frames
        for dtype in ("float32", "bfloat16")
    )
    error = np.square(exact.astype(float) - near).mean()
    assert 0 < error < 255**2 / 10**4  # 40 dB
