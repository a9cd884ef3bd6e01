"""Names from features: least squares on the features, their squares and the products of their main directions.

Fitted on rendered clips alone (`python -m lab.judge.fit`), in closed form; there is no network in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Classes:
    """names: of the classes. mean, scale: of the features. axes: [features, directions]. weights: [terms, classes]."""

    names: tuple[str, ...]
    mean: Tensor
    scale: Tensor
    axes: Tensor
    weights: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """Scores [n, classes] of features [n, features]: near 1 for the right class, near 0 for all others."""
        return _terms((features - self.mean) / self.scale, self.axes) @ self.weights

    def name(self, features: Tensor) -> str:
        return self.names[int(self.scores(features[None]).argmax())]


def _terms(x: Tensor, axes: Tensor) -> Tensor:
    x = x.clamp(-4, 4)
    main = (x @ axes).clamp(-3, 3)
    i, j = torch.triu_indices(axes.shape[1], axes.shape[1])
    return torch.cat((torch.ones(len(x), 1), x, main[:, i] * main[:, j]), dim=1)


def fit(features: Tensor, labels: list[str], directions: int = 40, ridge: float = 10.0) -> Classes:
    """Ridge regression onto one-hot labels; features: [n, features]. directions: the number of main directions whose
    products count."""
    names = tuple(sorted(set(labels)))
    mean, scale = features.mean(0), features.std(0).clamp(min=1e-3)
    x = (features - mean) / scale
    _, values, axes = torch.linalg.svd(x, full_matrices=False)
    axes = axes[:directions].T / (values[:directions] / len(x) ** 0.5)
    terms = _terms(x, axes).double()
    wanted = torch.zeros(len(labels), len(names), dtype=torch.float64)
    wanted[torch.arange(len(labels)), torch.tensor([names.index(label) for label in labels])] = 1
    gram = terms.T @ terms + ridge * torch.eye(terms.shape[1], dtype=torch.float64)
    return Classes(names, mean, scale, axes, torch.linalg.solve(gram, terms.T @ wanted).float())
