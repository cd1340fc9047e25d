"""Rows that are zero, almost zero, or not finite."""

from __future__ import annotations

import numpy as np

from survey.folded import Folded
from survey.records import RowClasses

NEAR_ZERO = 1e-6  # of the median norm


def row_classes(folded: Folded) -> RowClasses:
    """Counts of zero, near-zero and not finite rows; the classes may overlap."""
    norms = np.sort(folded.norms[folded.finite])
    median = norms[(len(norms) - 1) // 2] if len(norms) else 0.0
    return RowClasses(
        zero_rows=int((norms == 0.0).sum()),
        near_zero_rows=int((norms < NEAR_ZERO * median).sum()),
        nonfinite_rows=int((~folded.finite).sum()),
    )
