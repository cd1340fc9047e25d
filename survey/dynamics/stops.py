"""The step at which a quantity stops changing: one rule for motion, contraction and loss.

It is the first recorded step from which on the quantity (running mean over 2 % of the records) stays within
5 % of its greatest distance from its final value (mean of the last 10 %). A quantity that still changes by
more than 2 % of that distance within the last 10 % has not stopped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MEAN_WINDOW = 0.02  # of the records: the width of the running mean, against the noise of batches
TAIL = 0.1  # of the records: their mean is the final value
WITHIN = 0.05  # of the greatest distance from the final value
SETTLED = 0.02  # of it: the most that may still change in the tail


def stop_step(values: NDArray[np.float64], steps: NDArray[np.int64]) -> int | None:
    """The step at which a quantity stops changing; values, steps: [N].

    None if it has not stopped, never changed, or is not finite throughout.
    """
    count = len(values)
    tail = max(1, round(TAIL * count))
    if count < 3 or not np.isfinite(values).all():
        return None
    smooth = _running_mean(values, max(1, round(MEAN_WINDOW * count)))
    distances = np.abs(smooth - smooth[-tail:].mean())  # from the final value
    if distances.max() <= 1e-9 * np.abs(smooth).max():
        return None
    if abs(smooth[-1] - smooth[-tail]) > SETTLED * distances.max():
        return None
    outside = np.flatnonzero(distances > WITHIN * distances.max())
    first = int(outside[-1]) + 1
    return int(steps[first]) if first < count - tail else None


def _running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Centred running mean of [N], [N]; near the ends over fewer values."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low = np.maximum(index - width // 2, 0)
    high = np.minimum(index + (width + 1) // 2, len(values))
    means: NDArray[np.float64] = (sums[high] - sums[low]) / (high - low)
    return means
