"""The weight of a layer with an adapter: LoRA, LoCon, LoHa, LoKr, full differences, and DoRA on top of any.

Formulas: LoRA (Hu et al. 2021), LoHa (Hyeon-Woo et al. 2021), LoKr and the Tucker forms (LyCORIS, Yeh et al. 2023),
DoRA (Liu et al. 2024). Parts have kohya's and LyCORIS's names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..bounded import MAX_RANK
from ..errors import LavieError, is_out_of_memory
from .names import ALPHA, DORA, DOWN, MID, UP

Parts = Mapping[str, Tensor]  # of one layer: "lora_down.weight" → tensor, …
_WEIGHT, _BIAS = "diff", "diff_b"


def changed(weight: Tensor, parts: Parts, strength: float) -> Tensor:
    """The weight with an adapter of that strength; float32 in the weight's shape.

    Raises:
        LavieError: an adapter of an unknown kind, or one of another size.
    """
    base = weight.float()
    _check_size(parts, base)
    try:
        change = _fitted(difference(parts), base)
        if DORA in parts:
            change = _decomposed(base, change, parts[DORA].float()) - base
    except (KeyError, IndexError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise LavieError(f"its parts do not fit together ({_first_line(error)})") from error
    return base + strength * change


def _check_size(parts: Parts, weight: Tensor) -> None:
    """Check before multiplying: the result must have as many numbers as the weight, and no rank may be absurd."""
    factors = [
        [name for name in pair if name in parts]
        for pair in ((UP, MID, DOWN), ("hada_w1_a", "hada_t1", "hada_w1_b"), ("hada_w2_a", "hada_t2", "hada_w2_b"))
    ]
    for product in factors:
        if len(product) > 1:
            _require_size(_size_of_product([parts[name].shape for name in product]), weight)
    kronecker = [
        _size_of_product([parts[part].shape for part in (f"{name}_a", core, f"{name}_b") if part in parts])
        if f"{name}_a" in parts
        else parts[name].numel()
        for name, core in (("lokr_w1", ""), ("lokr_w2", "lokr_t2"))
        if name in parts or f"{name}_a" in parts
    ]
    if kronecker:
        _require_size(math.prod(kronecker), weight)


def _size_of_product(shapes: list[torch.Size]) -> int:
    """How many numbers the product of factors [out, rank, …], perhaps [rank, rank, kernel], and [rank, in, …] has."""
    if any(len(shape) < 2 or 0 in shape for shape in shapes):
        raise LavieError("it has weights that are no matrices")
    up, *middle, down = shapes
    rank = min(up[:2]) if middle else up[1]  # LyCORIS transposes some
    if max(rank, down[0]) > MAX_RANK:
        raise LavieError(f"its rank is {max(rank, down[0])}; {MAX_RANK} is the most")
    if middle:
        return max(up[:2]) * math.prod(middle[0][2:]) * math.prod(down[1:])
    return up[0] * math.prod(down[1:])


def _require_size(count: int, weight: Tensor) -> None:
    if count != weight.numel():
        raise LavieError(f"it gives {count} numbers where the model has {list(weight.shape)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:100]


def changed_bias(bias: Tensor, parts: Parts, strength: float) -> Tensor:
    """The bias plus the adapter's difference for it, if any; float32."""
    return bias.float() + strength * _fitted(parts[_BIAS].float(), bias) if _BIAS in parts else bias.float()


def difference(parts: Parts) -> Tensor:
    """What an adapter adds to the weight at strength 1, before DoRA; float32.

    Raises:
        LavieError: an adapter of an unknown kind.
    """
    parts = {name: tensor.float() for name, tensor in parts.items()}
    if DOWN in parts:
        return _scale(parts, parts[DOWN].shape[0]) * _product(parts[UP], parts[DOWN], parts.get(MID))
    if "hada_w1_b" in parts:
        first = _product(parts["hada_w1_a"], parts["hada_w1_b"], parts.get("hada_t1"))
        second = _product(parts["hada_w2_a"], parts["hada_w2_b"], parts.get("hada_t2"))
        return _scale(parts, parts["hada_w1_b"].shape[0]) * first * second
    if "lokr_w1" in parts or "lokr_w1_a" in parts:
        return _kronecker(parts)
    if _WEIGHT in parts:
        return parts[_WEIGHT]
    raise LavieError(f"This adapter is of a kind that LaVie does not know (it holds {', '.join(sorted(parts))}).")


def _product(up: Tensor, down: Tensor, middle: Tensor | None = None) -> Tensor:
    """up [out, rank, …] · down [rank, in, …], with a Tucker core [rank, rank, kernel] in between if there is one."""
    if middle is None:
        return (up.flatten(1) @ down.flatten(1)).view(up.shape[0], *down.shape[1:])
    if up.ndim == 2 and up.shape[0] == middle.shape[0]:  # LyCORIS's LoHa and LoKr have [rank, out]
        up = up.T
    return torch.einsum("o r, r s ..., s i -> o i ...", up.flatten(1), middle, down.flatten(1))


def _kronecker(parts: Parts) -> Tensor:
    """w1 ⊗ w2; each may be given as a product, and only then does alpha count."""
    rank = None
    factors = []
    for name in ("lokr_w1", "lokr_w2"):
        if name in parts:
            factors.append(parts[name])
            continue
        rank = parts[f"{name}_b"].shape[0]
        core = parts.get("lokr_t2") if name == "lokr_w2" else None
        factors.append(_product(parts[f"{name}_a"], parts[f"{name}_b"], core))
    first, second = factors
    first = first.view(*first.shape, *[1] * (second.ndim - first.ndim))
    return (1.0 if rank is None else _scale(parts, rank)) * torch.kron(first, second.contiguous())


def _scale(parts: Parts, rank: int) -> float:
    return parts[ALPHA].item() / rank if ALPHA in parts else 1.0


def _decomposed(weight: Tensor, change: Tensor, magnitudes: Tensor) -> Tensor:
    """DoRA: the changed weight's direction with its own magnitudes, per output or, in old files, per input."""
    direction = weight + change
    axis = 0 if magnitudes.shape[0] == weight.shape[0] else 1
    others = [dim for dim in range(weight.ndim) if dim != axis]
    norm = torch.linalg.vector_norm(direction, dim=others, keepdim=True).clamp_min(torch.finfo(torch.float32).eps)
    shape = [1] * weight.ndim
    shape[axis] = -1
    return direction * (magnitudes.reshape(shape) / norm)


def _fitted(change: Tensor, weight: Tensor) -> Tensor:
    """Reshaped to the weight's shape: linear and 1×1-convolution weights are interchangeable."""
    if change.shape != weight.shape and change.numel() != weight.numel():
        raise LavieError(f"it is {list(change.shape)} where the model has {list(weight.shape)}")
    return change.to(weight.device).reshape(weight.shape)
