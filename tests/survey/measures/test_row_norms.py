"""How long the rows are: mean, spread and quantiles of ‖w_i‖ over the finite rows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.matrices import folded

from survey.measures.row_norms import row_norms
from survey.records.measured_columns import RowNorms

NAN, INF = float("nan"), float("inf")

# Lengths 5, 1, 10, 2; their sum is 18, the rows' sum is (0, 12).
ROWS = [(3, 4), (1, 0), (-6, 8), (2, 0)]


def test_columns_of_lengths_1_2_5_10() -> None:
    with folded(ROWS) as rows:
        result = row_norms(rows)
    assert result.token_norm_mean == 4.5
    assert result.token_norm_median == 2.0
    # √((3.5² + 2.5² + 0.5² + 5.5²) / 3) = 7 / √3
    assert result.token_norm_std == pytest.approx(4.041451884327381, rel=1e-15)
    assert (result.token_norm_min, result.token_norm_max) == (1.0, 10.0)
    assert result.centroid_ratio == pytest.approx(3 / 4.5, rel=1e-15)


def test_quantiles_are_interpolated_between_neighbours() -> None:
    """The q-quantile of 1, 2, 5, 10 lies at 3q: p25 at 0.75, three quarters from 1 to 2."""
    with folded(ROWS) as rows:
        result = row_norms(rows)
    assert result.token_norm_p01 == pytest.approx(1.03, rel=1e-14)
    assert result.token_norm_p05 == pytest.approx(1.15, rel=1e-14)
    assert result.token_norm_p25 == pytest.approx(1.75, rel=1e-14)
    assert result.token_norm_p75 == pytest.approx(6.25, rel=1e-14)
    assert result.token_norm_p95 == pytest.approx(9.25, rel=1e-14)
    assert result.token_norm_p99 == pytest.approx(9.85, rel=1e-14)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([(3, 4)], 5.0, id="one row"),
        pytest.param([(0, 10), (3, 4)], 5.0, id="the lower of two"),
        pytest.param([(0, 10), (3, 4), (0, 1)], 5.0, id="the middle of three"),
        pytest.param(ROWS, 2.0, id="the lower of the middle two of four"),
        pytest.param([(3, 4), (NAN, 0), (INF, 0)], 5.0, id="rows that are not finite do not count"),
    ],
)
def test_median_is_the_lower_one(rows: Sequence[tuple[float, float]], expected: float) -> None:
    with folded(rows) as some:
        assert row_norms(some).token_norm_median == expected


def test_one_row_has_no_spread_and_all_its_quantiles_are_its_length() -> None:
    with folded([(3, 4)]) as rows:
        result = row_norms(rows)
    assert (result.token_norm_std, result.token_norm_p01, result.token_norm_p99) == (None, 5.0, 5.0)
    assert result.centroid_ratio == 1.0


def test_ratio_is_null_if_all_rows_are_zero() -> None:
    with folded([(0, 0), (0, 0)]) as rows:
        result = row_norms(rows)
    assert (result.token_norm_mean, result.token_norm_std, result.centroid_ratio) == (0.0, 0.0, None)


def test_every_column_is_null_if_no_row_is_finite() -> None:
    with folded([(NAN, 1), (2, INF)]) as rows:
        assert row_norms(rows) == RowNorms(**dict.fromkeys(RowNorms.__dataclass_fields__))


def test_rows_of_norm_2e_21_keep_their_length() -> None:
    """In float32 their squares underflow to zero."""
    with folded([(2e-21, 0), (0, 1)], "F32") as rows:
        assert row_norms(rows).token_norm_min == pytest.approx(2e-21, rel=1e-6)
