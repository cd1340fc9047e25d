"""The centroid of the dead rows against that of the live ones; finite rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.matrices import folded

from survey.measures.dead_and_live import dead_and_live
from survey.records.measured_columns import DeadAndLive

NAN, INF = float("nan"), float("inf")

# Dead: (6, 0) twice and (0, 8) twice, mean (3, 4). Live: (−8, 6) and (0, 0), mean (−4, 3).
# Everything: (4, 22) / 6.
ROWS = [(6, 0), (0, 8), (-8, 6), (6, 0), (0, 8), (0, 0)]
ROOT_50 = 7.0710678118654755


def test_two_centroids_at_right_angles() -> None:
    with folded(ROWS) as rows:
        result = dead_and_live(rows)
    assert result.dead_centroid is not None
    assert result.live_centroid is not None
    assert (result.dead_centroid.tolist(), result.dead_centroid.dtype) == ([3.0, 4.0], np.float32)
    assert (result.live_centroid.tolist(), result.live_centroid.dtype) == ([-4.0, 3.0], np.float32)
    assert (result.dead_centroid_l2, result.live_centroid_l2) == (5.0, 5.0)
    assert result.dead_live_cosine == pytest.approx(0.0, abs=1e-15)
    assert result.dead_live_angle_deg == pytest.approx(90.0, abs=1e-12)
    assert result.dead_live_distance == pytest.approx(ROOT_50, rel=1e-15)  # ‖(7, 1)‖
    assert result.dead_full_distance == pytest.approx(ROOT_50 / 3, rel=1e-15)  # ‖(7/3, 1/3)‖


def test_lengths_of_dead_and_live_rows() -> None:
    with folded(ROWS) as rows:
        result = dead_and_live(rows)
    assert result.dead_norm_mean == 7.0  # of 6, 6, 8, 8
    assert result.dead_norm_std == pytest.approx((4 / 3) ** 0.5, rel=1e-15)
    assert result.live_norm_mean == 5.0  # of 10 and 0
    assert result.live_norm_std == pytest.approx(ROOT_50, rel=1e-15)  # √(5² + 5²)


def test_dead_centroid_is_weighted_by_population_and_the_mean_of_black_holes_is_not() -> None:
    """(1, 0) four times, (0, 1) twice: (4, 2) / 6 against (½, ½), cosine 3 / √10."""
    with folded([(1, 0), (1, 0), (1, 0), (1, 0), (0, 1), (0, 1)]) as rows:
        result = dead_and_live(rows)
    assert result.dead_centroid is not None
    assert result.dead_centroid.tolist() == [np.float32(4 / 6), np.float32(2 / 6)]
    assert result.black_hole_mean_cosine == pytest.approx(3 / 10**0.5, rel=1e-14)


@pytest.mark.parametrize(
    ("dead", "live", "cosine", "angle_deg"),
    [
        pytest.param((2, 0), (5, 0), 1.0, 0.0, id="the same direction"),
        pytest.param((2, 0), (5, 5), 0.7071067811865476, 45.0, id="45 degrees"),
        pytest.param((2, 0), (0, 3), 0.0, 90.0, id="a right angle"),
        pytest.param((2, 0), (-7, 0), -1.0, 180.0, id="opposite directions"),
        pytest.param((2, 0), (1, 1e-9), 1.0, 5.729577951308232e-08, id="a billionth of a radian"),
    ],
)
def test_angle_between_the_centroids(
    dead: tuple[float, float], live: tuple[float, float], cosine: float, angle_deg: float
) -> None:
    with folded([dead, live, dead]) as rows:
        result = dead_and_live(rows)
    assert result.dead_live_cosine == pytest.approx(cosine, abs=1e-15)
    assert result.dead_live_angle_deg == pytest.approx(angle_deg, rel=1e-12, abs=1e-13)


def test_every_column_of_the_dead_is_null_without_black_holes() -> None:
    with folded([(3, 4), (3, -4)]) as rows:
        result = vars(dead_and_live(rows))
    defined = {name: value for name, value in result.items() if value is not None}
    assert defined.pop("live_centroid").tolist() == [3.0, 0.0]
    assert defined == {"live_centroid_l2": 3.0, "live_norm_mean": 5.0, "live_norm_std": 0.0}


def test_every_column_of_the_live_is_null_if_all_rows_are_dead() -> None:
    with folded([(3, 4), (3, 4)]) as rows:
        result = vars(dead_and_live(rows))
    defined = {name: value for name, value in result.items() if value is not None}
    assert defined.pop("dead_centroid").tolist() == [3.0, 4.0]
    assert defined.pop("black_hole_mean_cosine") == pytest.approx(1.0, abs=1e-15)
    assert defined == {
        "dead_centroid_l2": 5.0,
        "dead_full_distance": 0.0,
        "dead_norm_mean": 5.0,
        "dead_norm_std": 0.0,
        "dead_zero_rows": 0,
        "dead_nonfinite_rows": 0,
        "dead_nonzero_centroid_l2": 5.0,
        "dead_nonzero_norm_mean": 5.0,
    }


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(NAN, 1), (NAN, 1), (3, 4)], id="dead rows that are all NaN"),
        pytest.param([(INF, 1), (INF, 1), (3, 4)], id="dead rows that are all infinite"),
    ],
)
def test_rows_that_are_not_finite_make_no_dead_centroid(rows: Sequence[tuple[float, float]]) -> None:
    with folded(rows) as some:
        result = dead_and_live(some)
    assert (result.dead_centroid, result.dead_centroid_l2, result.dead_norm_mean) == (None, None, None)
    assert (result.live_centroid_l2, result.dead_live_distance) == (5.0, None)


def test_a_black_hole_that_is_not_finite_leaves_the_others_alone() -> None:
    with folded([(NAN, 1), (NAN, 1), (3, 4), (3, 4), (0, 2), (9, INF)]) as rows:
        result = dead_and_live(rows)
    assert (result.dead_centroid_l2, result.live_centroid_l2) == (5.0, 2.0)
    assert result.black_hole_mean_cosine == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize(
    ("rows", "distance"),
    [
        pytest.param([(0, 0), (0, 0), (3, 4)], 5.0, id="a black hole of zeros"),
        pytest.param([(1, 2), (1, 2), (-1, -2), (-1, -2), (3, 4)], 5.0, id="black holes that cancel"),
        pytest.param([(3, 4), (3, 4), (0, 0)], 5.0, id="live rows that are zero"),
        pytest.param([(3, 4), (3, 4), (2, 1), (-2, -1)], 5.0, id="live rows that cancel"),
    ],
)
def test_a_centroid_at_the_origin_has_a_distance_and_no_angle(
    rows: Sequence[tuple[float, float]], distance: float
) -> None:
    with folded(rows) as some:
        result = dead_and_live(some)
    assert (result.dead_live_cosine, result.dead_live_angle_deg) == (None, None)
    assert result.dead_live_distance == distance
    assert 0.0 in (result.dead_centroid_l2, result.live_centroid_l2)


def test_every_column_is_null_if_no_row_is_finite() -> None:
    with folded([(NAN, 1), (NAN, 1), (2, INF)]) as rows:
        nothing = DeadAndLive(**dict.fromkeys(DeadAndLive.__dataclass_fields__))
        assert dead_and_live(rows) == replace(nothing, dead_zero_rows=0, dead_nonfinite_rows=2)


def test_black_holes_of_zeros_and_nan_have_figures_of_their_own() -> None:
    """Of the dead rows (3, 4), twice, and zero, three times, the mean is (1.2, 1.6)."""
    with folded([(3, 4), (3, 4), (0, 0), (0, 0), (0, 0), (NAN, 1), (NAN, 1), (2, 2)]) as rows:
        result = dead_and_live(rows)
    assert result.dead_centroid_l2 == result.dead_norm_mean == pytest.approx(2.0)
    assert (result.dead_zero_rows, result.dead_nonfinite_rows) == (3, 2)
    assert (result.dead_nonzero_centroid_l2, result.dead_nonzero_norm_mean) == (5.0, 5.0)
