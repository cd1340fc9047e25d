"""Sums that are rounded once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled


@compiled
def add_up(values: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    """Σ of finite values [N]: found becomes the sum, and the least and the most that the exact one rounds to.

    The error of each addition is known exactly (D. Knuth, TAOCP 2, 4.2.2, theorem B). Their own sum may lose
    N·2^-53 of their magnitudes: that, doubled, and the last places of what is computed from it are in doubt.
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
    found[0], found[1], found[2] = total + error, total + (error - doubt), total + (error + doubt)
