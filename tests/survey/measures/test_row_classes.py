"""Rows that are zero, almost zero, or not finite."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.matrices import folded

from survey.measures.row_classes import row_classes
from survey.records.measured_columns import RowClasses

NAN, INF = float("nan"), float("inf")
ONE = (0.6, 0.8)


@pytest.mark.parametrize(
    ("rows", "zero", "near_zero", "nonfinite"),
    [
        pytest.param([ONE, ONE, ONE], 0, 0, 0, id="plain rows"),
        pytest.param([ONE, ONE, (0.0, 0.0)], 1, 1, 0, id="a zero row is near zero too"),
        pytest.param([ONE, ONE, (-0.0, 0.0)], 1, 1, 0, id="a zero of either sign"),
        pytest.param([ONE, ONE, (0, 9e-7)], 0, 1, 0, id="below a millionth of the median"),
        pytest.param([ONE, ONE, (0, 1.1e-6)], 0, 0, 0, id="above a millionth of the median"),
        pytest.param([ONE, ONE, (0, 2e-21)], 0, 1, 0, id="a row of norm 2e-21 is not zero"),
        pytest.param([ONE, ONE, (5e-324, 0)], 0, 1, 0, id="the smallest number is not zero"),
        pytest.param([ONE, ONE, (NAN, 0)], 0, 0, 1, id="a NaN"),
        pytest.param([ONE, ONE, (0, INF), (0, -INF)], 0, 0, 2, id="infinities of either sign"),
        pytest.param([ONE, ONE, (INF, -INF)], 0, 0, 1, id="a row with several counts once"),
        pytest.param([ONE, ONE, ONE, (0, 0), (0, 1e-9), (NAN, 0)], 1, 2, 1, id="one of each"),
        pytest.param([(0, 0), (0, 0), ONE], 2, 2, 0, id="most rows are zero"),
        pytest.param(
            [(0, 0), (0, 0), ONE, (0, 9e-7), ONE], 2, 3, 0, id="the median is that of the other rows"
        ),
        pytest.param([(0, 0), (-0.0, 0)], 2, 2, 0, id="nothing but zero rows"),
        pytest.param([(NAN, 0), (NAN, 0)], 0, 0, 2, id="no finite row"),
    ],
)
def test_rows_are_counted_by_class(
    rows: Sequence[tuple[float, float]], zero: int, near_zero: int, nonfinite: int
) -> None:
    with folded(rows) as some:
        assert row_classes(some) == RowClasses(
            zero_rows=zero, near_zero_rows=near_zero, nonfinite_rows=nonfinite
        )


def test_the_median_that_decides_is_the_lower_one() -> None:
    """Of lengths 1e-7, 0.2, 1e6 and 1e6 it is 0.2, not their mean of half a million."""
    with folded([(0, 1e-7), (0.2, 0), (1e6, 0), (0, 1e6)]) as rows:
        assert row_classes(rows).near_zero_rows == 1
