"""The shape of the cloud, on matrices whose shape is known by construction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import survey

Rows = NDArray[np.float64]
V, D = 6_000, 48


def draw() -> np.random.Generator:
    return np.random.default_rng(5)


def isotropic() -> Rows:
    return draw().normal(size=(V, D))


def with_an_outlier_dimension() -> Rows:
    rows = isotropic()
    rows[:, 7] *= 20.0
    return rows


def around_a_far_centre() -> Rows:
    rows = isotropic()
    rows[:, :3] += np.array([30.0, 20.0, -10.0])
    return rows


def measured(rows: Rows) -> survey.Measurement:
    return survey.measure(torch.from_numpy(rows), device="cpu")


def test_rows_of_all_directions_have_no_mean_cosine_and_all_dimensions_vary_alike() -> None:
    shape = measured(isotropic())
    assert shape.mean_cosine == pytest.approx(0.0, abs=1e-4)
    assert shape.outlier_dims == 0
    assert shape.top_dim_variance_share == pytest.approx(1 / D, rel=0.1)
    assert shape.variance_participation == pytest.approx(D, rel=0.01)


def test_one_dimension_of_twenty_times_the_spread_is_an_outlier() -> None:
    shape = measured(with_an_outlier_dimension())
    assert shape.outlier_dims == 1
    assert shape.top_dim_variance_share == pytest.approx(400 / (400 + D - 1), rel=0.02)
    assert shape.variance_participation == pytest.approx((400 + D - 1) ** 2 / (400**2 + D - 1), rel=0.02)


def test_a_far_centre_gives_rows_a_common_direction_and_its_three_components_all_the_share() -> None:
    shape = measured(around_a_far_centre())
    squares = 900 + 400 + 100
    assert shape.mean_cosine == pytest.approx(squares / (squares + D), rel=0.01)
    assert shape.centroid_top3_share == pytest.approx(1.0, abs=1e-4)
    assert shape.outlier_dims == 0  # of the variance, which a shift leaves alone


def test_a_variance_beside_a_mean_of_a_thousand_times_its_root_is_true() -> None:
    rows = isotropic() + 1000.0
    assert measured(rows).variance_participation == pytest.approx(
        float(rows.var(axis=0).sum() ** 2 / (rows.var(axis=0) ** 2).sum()), rel=1e-6
    )


def test_live_rows_are_seen_through_a_thousand_times_as_many_dead_ones() -> None:
    live = draw().normal(size=(40, D)) + 0.5
    rows = np.concatenate([live[:20], np.full((40_000, D), 3.0), live[20:]])
    units = live / np.linalg.norm(live, axis=1)[:, None]
    cosines = units @ units.T
    expected = (cosines.sum() - 40) / (40 * 39)
    shape = measured(rows)
    assert shape.live_mean_cosine == pytest.approx(expected, abs=1e-6)
    assert shape.mean_cosine is not None
    assert shape.mean_cosine > 0.99


def test_rows_with_nan_or_infinity_and_zero_rows_have_no_direction() -> None:
    rows = isotropic()
    plain = measured(np.delete(rows, [5, 6, 7], axis=0))
    rows[5, 0], rows[6, 1], rows[7] = np.nan, np.inf, 0.0
    assert measured(rows).mean_cosine == pytest.approx(plain.mean_cosine, abs=1e-12)


EMPTY: dict[str, Callable[[], Rows]] = {
    "all rows equal": lambda: np.full((50, D), 0.3),
    "one row": lambda: isotropic()[:1],
}


@pytest.mark.parametrize("make", EMPTY.values(), ids=EMPTY)
def test_without_a_variance_shares_of_it_are_null(make: Callable[[], Rows]) -> None:
    shape = measured(make())
    assert (shape.outlier_dims, shape.top_dim_variance_share, shape.variance_participation) == (0, None, None)


@pytest.mark.parametrize(
    "rows",
    [isotropic()[:1], np.zeros((9, D)), np.full((9, D), np.nan), isotropic()[:9] * 1e305],
    ids=["one row", "zeros", "no numbers", "lengths beyond float64"],
)
def test_without_two_directions_a_mean_cosine_is_null(rows: Rows) -> None:
    shape = measured(rows)
    assert shape.mean_cosine is None
    assert shape.live_mean_cosine is None


def test_equal_rows_have_one_direction_and_no_live_row_has_any() -> None:
    shape = measured(np.full((50, D), 0.3))
    assert shape.mean_cosine == pytest.approx(1.0, abs=1e-12)
    assert shape.live_mean_cosine is None
