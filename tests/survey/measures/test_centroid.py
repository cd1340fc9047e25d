"""The centroid μ: mean of all finite rows, and how its components are spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from support.matrices import folded

import survey
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


# ---- numbers near the end of float64, which only a stranger's F64 matrix holds

LARGEST = float(np.finfo(np.float64).max)
LARGE = {
    "whose absolute values add up to more": np.full((8, 256), 1.4e306),
    "all the largest": np.full((40, 4), LARGEST),
    "one row": np.full((1, 256), 1.5e308),
    "a single one": np.array([[LARGEST]]),
    "of both signs": np.array([[LARGEST, 1.0], [-LARGEST, 2.0]] * 9),
    "distinct rows of both signs": LARGEST * np.sign(np.random.default_rng(0).normal(size=(200, 16))),
    "a row among others": np.vstack([np.full((1, 4), -LARGEST), np.arange(160.0).reshape(40, 4)]),
}


@pytest.mark.parametrize("matrix", LARGE.values(), ids=LARGE)
def test_numbers_near_the_end_of_float64_end_in_columns_that_are_finite_or_null(
    matrix: NDArray[np.float64],
) -> None:
    measured = survey.measure(matrix)
    numbers = [value for value in vars(measured).values() if isinstance(value, float)]
    assert numbers
    assert np.isfinite(numbers).all()
    assert measured.vocab_rows == len(matrix)
    assert measured.nonfinite_rows == 0
