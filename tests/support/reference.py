"""What the official code computed: `tests/reference`, whose README says what lies there."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
PREFIX = "weights/"
Manifest = dict[str, list[int]]


def key_manifest(name: str) -> Manifest:
    """Names and shapes of an official model, in the order of its `state_dict()`."""
    return json.loads((REFERENCE / f"{name}.keys.json").read_text("utf-8"))


def schedules() -> dict:
    """Timesteps and alphas of the official schedulers."""
    return json.loads((REFERENCE / "schedules.json").read_text("utf-8"))


class Golden:
    """One golden file: `weights`, `config`, and tensors by their names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sidecar = json.loads((REFERENCE / f"{name}.json").read_text("utf-8"))
        self.tensors = load_file(REFERENCE / f"{name}.safetensors")

    @property
    def config(self) -> dict:
        return self.sidecar["config"]

    @property
    def weights(self) -> dict[str, Tensor]:
        """As they are in the file, or drawn as the official networks' were where the sidecar names a seed."""
        stored = {k.removeprefix(PREFIX): v.float() for k, v in self.tensors.items() if k.startswith(PREFIX)}
        if "weights_seed" not in self.sidecar:
            return stored
        drawn = drawn_weights(key_manifest(self.name), self.sidecar["weights_seed"], bool(self.sidecar["eps_probe"]))
        for name in drawn.keys() & stored.keys():  # those drawn last; another processor may round one differently
            torch.testing.assert_close(drawn[name], stored[name], atol=0, rtol=2e-3, msg=f"{name} was drawn otherwise")
        return drawn | stored

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def get(self, name: str) -> Tensor | None:
        return self.tensors.get(name)


def drawn_weights(manifest: Manifest, seed: int, eps_probe: bool) -> dict[str, Tensor]:
    """The random weights of a golden network, rounded to float16 as before its run; rotary frequencies aside.

    With `eps_probe` a few layers are so weak that the eps of the norms after them counts.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in manifest.items():
        if not name.endswith("rotary_emb.freqs"):
            value = _scaled(name, torch.randn(shape, generator=generator))
            weights[name] = (value * 2e-3 if eps_probe and _is_probe(name) else value).half().float()
    return weights


def _scaled(name: str, noise: Tensor) -> Tensor:
    if noise.ndim == 1:
        return 1 + 0.25 * noise if "norm" in name and name.endswith("weight") else 0.1 * noise
    if "relative_attention_bias" in name or "class_embedding" in name:
        return noise
    gain = 1.6 if name.endswith(("to_q.weight", "to_k.weight")) else 1.0
    return noise * (gain / math.sqrt(noise[0].numel()))


def _is_probe(name: str) -> bool:
    in_front = name.startswith(("conv_in.", "down_blocks.0.resnets.0.conv2."))
    return in_front or ("resblock" in name and ("conv1." in name or "time_emb_proj." in name))


def relative_error(value: Tensor, truth: Tensor) -> float:
    """Relative L2 error."""
    return ((value.double() - truth.double()).norm() / truth.double().norm()).item()
