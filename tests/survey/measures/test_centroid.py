"""The centroid μ: mean of all finite rows, and how its components are spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from support.matrices import folded

from survey.measures.centroid import centroid
from survey.records.measured_columns import Centroid

NAN, INF = float("nan"), float("inf")
HALF_ROOT = 0.7071067811865476  # √½


def test_columns_of_a_centroid_of_3_4() -> None:
    with folded([(3, 0), (3, 8)]) as rows:
        result = centroid(rows)
    assert result.centroid is not None
    assert (result.centroid.tolist(), result.centroid.dtype) == ([3.0, 4.0], np.float32)
    assert result.centroid_mean == 3.5
    assert result.centroid_std == pytest.approx(HALF_ROOT, rel=1e-15)  # √((½² + ½²) / (2 − 1))
    assert (result.centroid_min, result.centroid_max) == (3.0, 4.0)
    assert (result.centroid_l1, result.centroid_l2, result.centroid_linf) == (7.0, 5.0, 4.0)


def test_signs_count_in_min_and_max_and_not_in_lengths() -> None:
    with folded([(-3, 0), (-3, 8)]) as rows:
        result = centroid(rows)
    assert (result.centroid_mean, result.centroid_min, result.centroid_max) == (0.5, -3.0, 4.0)
    assert (result.centroid_l1, result.centroid_l2, result.centroid_linf) == (7.0, 5.0, 4.0)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([(3, 4)], [3, 4], id="one row is its own centroid"),
        pytest.param([(3, 4), (3, 4), (0, 1)], [2, 3], id="identical rows count each"),
        pytest.param([(3, 4), (0, 0)], [1.5, 2], id="zero rows count"),
        pytest.param([(3, 4), (NAN, 9)], [3, 4], id="a row with a NaN is left out"),
        pytest.param([(3, 4), (9, INF), (-INF, 9)], [3, 4], id="rows with an infinity are left out"),
        pytest.param([(3, 4), (-3, -4)], [0, 0], id="opposite rows cancel"),
    ],
)
def test_centroid_is_the_mean_of_the_finite_rows(
    rows: Sequence[tuple[float, float]], expected: list[float]
) -> None:
    with folded(rows) as some:
        result = centroid(some)
    assert result.centroid is not None
    assert result.centroid.tolist() == expected


def test_a_centroid_at_the_origin_has_length_zero_not_null() -> None:
    with folded([(3, 4), (-3, -4)]) as rows:
        result = centroid(rows)
    assert (result.centroid_l1, result.centroid_l2, result.centroid_linf) == (0.0, 0.0, 0.0)


def test_spread_of_a_single_component_is_null() -> None:
    with folded([(3,), (5,)]) as rows:
        result = centroid(rows)
    assert (result.centroid_mean, result.centroid_std, result.centroid_l2) == (4.0, None, 4.0)


def test_every_column_is_null_if_no_row_is_finite() -> None:
    with folded([(NAN, 1), (2, INF)]) as rows:
        assert centroid(rows) == Centroid(**dict.fromkeys(Centroid.__dataclass_fields__))
