"""Rows that are zero, almost zero, or not finite."""

from __future__ import annotations

from survey.numerics.vectors import near_zero_below
from survey.onepass.result import PassResult
from survey.records.measured_columns import RowClasses


def row_classes(result: PassResult) -> RowClasses:
    """Counts of zero, near-zero and not finite rows; the classes may overlap."""
    norms = result.sorted_norms
    return RowClasses(
        zero_rows=int((norms == 0.0).sum()),
        near_zero_rows=int(((norms == 0.0) | (norms < near_zero_below(norms))).sum()),
        nonfinite_rows=int((~result.finite).sum()),
    )
