"""How near frames are to the true ones, in measures that need no network."""

from __future__ import annotations

import math

import numpy as np

PEAK = 255.0


def squared_error(frames: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The mean squared error of uint8 frames [f, h, w, 3]; `weight` [f, h, w] chooses places."""
    error = ((frames.astype(np.float32) - truth) ** 2).mean(-1)
    return float(error.mean() if weight is None else (error * weight).sum() / weight.sum())


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB; infinite where nothing differs.

    Of several clips it is taken from the mean of their squared errors: a clip without any error would make a mean of
    ratios infinite.
    """
    return math.inf if mean_squared_error == 0 else 10 * math.log10(PEAK**2 / mean_squared_error)


def edges(frames: np.ndarray) -> np.ndarray:
    """Differences of neighbouring pixels, downwards and to the right: float32 [2, f, h − 1, w − 1, 3]."""
    pixels = frames.astype(np.float32)
    down = pixels[:, 1:, :-1] - pixels[:, :-1, :-1]
    right = pixels[:, :-1, 1:] - pixels[:, :-1, :-1]
    return np.stack((down, right))


def sharpness(frames: np.ndarray, truth: np.ndarray) -> float:
    """Energy of the edges ÷ that of the true frames' edges: 1 is as sharp, less is softer, more is noise or ringing."""
    return float((edges(frames) ** 2).mean() / (edges(truth) ** 2).mean())


def edge_error(frames: np.ndarray, truth: np.ndarray) -> float:
    """Energy of what the edges miss ÷ that of the true ones: 0 for the true frames, 1 for a picture without edges."""
    true_edges = edges(truth)
    return float(((edges(frames) - true_edges) ** 2).mean() / (true_edges**2).mean())


def flicker(frames: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square, of 255, of what changes from frame to frame otherwise than in the true frames."""
    change = np.diff(frames.astype(np.float32), axis=0) - np.diff(truth.astype(np.float32), axis=0)
    return float((change**2).mean() ** 0.5)
