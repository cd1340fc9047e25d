"""Sums that are rounded once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled


@compiled
def add_up(values: NDArray[np.float64], bounds: NDArray[np.float64]) -> None:
    """Set bounds [3] to Σ of finite values [N], and to the least and the most that the exact sum rounds to.

    The error of each addition is known exactly (D. Knuth, TAOCP 2, 4.2.2, theorem B). Their own sum may lose
    N·2^-53 of their magnitudes: twice that, and the last digits of what is computed from it, are in doubt.
    """
    total, error, errors = 0.0, 0.0, 0.0
    for value in values:
        added = total + value
        part = added - total
        lost = (total - (added - part)) + (value - part)
        error += lost
        errors += abs(lost)
        total = added
    doubt = len(values) * 2.0**-52 * errors + 2.0**-51 * abs(error)
    bounds[0], bounds[1], bounds[2] = total + error, total + (error - doubt), total + (error + doubt)
