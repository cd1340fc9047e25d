"""The power law of a spectrum's tail: p(x) ∝ x^−α from some smallest x on.

α is the maximum-likelihood estimate, and the tail begins where its law is nearest to the values by the
distance of Kolmogorov and Smirnov (Clauset, Shalizi and Newman 2009). WeightWatcher fits the eigenvalues of
WᵀW, the squared singular values, in this way (Martin, Peng and Mahoney 2021): a small α is a heavy tail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survey.numerics.row_decoder import DecodedRows

FEWEST_VALUES = 50  # values: a law through fewer means nothing (the authors' own advice)


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """alpha: the exponent. distance: of Kolmogorov and Smirnov, in [0, 1]. begins: the tail's least value."""

    alpha: float
    distance: float
    begins: float


def power_law(values: DecodedRows) -> PowerLaw | None:
    """The law of the tail of positive values, [N] in any order; None if they are too few or all equal."""
    ascending = np.sort(values)
    if len(ascending) < FEWEST_VALUES:
        return None
    logs = np.log(ascending)
    lower = np.searchsorted(ascending, ascending)  # how many values are smaller than each
    best: PowerLaw | None = None
    for start in np.unique(lower).tolist():
        excess = logs[start:] - logs[start]
        total = float(excess.sum())
        if total <= 0.0:  # all of the tail is one value
            continue
        slope = len(excess) / total  # α − 1
        # How much of the law lies below each value, and how much of the values.
        apart = np.abs(-np.expm1(-slope * excess) - (lower[start:] - start) / len(excess))
        distance = float(apart.max())
        if best is None or distance < best.distance:
            best = PowerLaw(1.0 + slope, distance, float(ascending[start]))
    return best
