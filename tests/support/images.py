"""What tells a clip from noise."""

import numpy as np


def alike_neighbours(frames) -> float:
    """The least correlation of frames [count, height, width, 3] with themselves one frame, one row, one column on.

    Noise has none; what a VAE decodes from noise has none from frame to frame. NaN for frames of one colour.
    """
    values = np.asarray(frames, np.float64)
    pairs = [(np.delete(values, 0, axis), np.delete(values, -1, axis)) for axis in range(3) if values.shape[axis] > 1]
    return min(float(np.corrcoef(earlier.ravel(), later.ravel())[0, 1]) for earlier, later in pairs)
