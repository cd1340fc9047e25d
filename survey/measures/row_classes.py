"""Rows that are zero, almost zero, or not finite."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.folded import Folded
from survey.records import RowClasses

NEAR_ZERO = 1e-6  # of the median norm


def row_classes(folded: Folded) -> RowClasses:
    """Counts of zero, near-zero and not finite rows; the classes may overlap."""
    norms = folded.norms[folded.finite]
    return RowClasses(
        zero_rows=int((norms == 0.0).sum()),
        near_zero_rows=int((norms < near_zero_below(norms)).sum()),
        nonfinite_rows=int((~folded.finite).sum()),
    )


def near_zero_below(norms: NDArray[np.float64]) -> float:
    """The norm below which a row counts as almost zero: NEAR_ZERO × the lower median of finite norms."""
    return NEAR_ZERO * float(np.sort(norms)[(len(norms) - 1) // 2]) if len(norms) else 0.0
