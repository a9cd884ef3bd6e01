"""Maps of a video's frames, made with OpenCV as the ControlNets' authors make them."""

from __future__ import annotations

import numpy as np

CANNY_LOW, CANNY_HIGH = 100, 200  # thresholds of the gradient, as in lllyasviel's example
LINE_SIGMA, LINE_FLOOR, LINE_GAIN = 6.0, 8.0, 127.0  # of LineartStandardDetector


def canny(frames: np.ndarray) -> np.ndarray:
    """White edges on black: uint8 [F, height, width, 3] of frames of that shape."""
    import cv2  # pyright: ignore[reportMissingImports] (an optional extra)

    return np.stack([np.repeat(cv2.Canny(frame, CANNY_LOW, CANNY_HIGH)[..., None], 3, axis=-1) for frame in frames])


def lineart(frames: np.ndarray) -> np.ndarray:
    """White lines on black, where a frame is darker than its surroundings: uint8 [F, height, width, 3]."""
    import cv2  # pyright: ignore[reportMissingImports] (an optional extra)

    def lines(frame: np.ndarray) -> np.ndarray:
        pixels = frame.astype(np.float32)
        darker = (cv2.GaussianBlur(pixels, (0, 0), LINE_SIGMA) - pixels).min(axis=2).clip(0, 255)
        strong = darker[darker > LINE_FLOOR]
        scaled = darker / max(16.0, float(np.median(strong)) if strong.size else 0.0) * LINE_GAIN
        return np.repeat(scaled.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)

    return np.stack([lines(frame) for frame in frames])
