"""Axes: their components, the signs of these, and axes that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from survey.errors import UsageError
from survey.sky.basis import Axes, basis
from survey.spectra.covariance import Covariance


def of_matrix(matrix: np.ndarray, total: float) -> Covariance:
    return Covariance(matrix, total, np.zeros(len(matrix)), np.ones(9, dtype=bool))


def covariance(*variances: float) -> Covariance:
    """Uncorrelated dimensions with these variances."""
    return of_matrix(np.diag(variances), sum(variances))


def rotated(*variances: float, seed: int = 0) -> tuple[Covariance, np.ndarray]:
    """The same in a random orientation; and its directions as columns."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(variances), len(variances))))
    return of_matrix(turn @ np.diag(variances) @ turn.T, sum(variances)), turn


def test_components_are_counted_from_1_by_falling_variance() -> None:
    result = basis(covariance(1, 4, 2, 3), Axes(north=2, meridian=1, equinox=3))
    x, y, z = result.vectors.T
    assert [int(np.argmax(axis)) for axis in (x, y, z)] == [1, 2, 3]  # meridian 4, equinox 2, north 3
    assert result.variances == pytest.approx((4, 2, 3))
    assert result.total_variance == 10


@pytest.mark.parametrize("seed", range(5))
def test_the_entry_of_largest_magnitude_is_positive_and_a_negative_index_flips_it(seed: int) -> None:
    made, turn = rotated(9, 6, 4, 1, 0.5, seed=seed)
    plain = basis(of_matrix(made.matrix.copy(), made.total), Axes()).vectors
    flipped = basis(made, Axes(north=-2, meridian=1, equinox=-3)).vectors
    assert (plain[np.abs(plain).argmax(axis=0), range(3)] > 0).all()
    np.testing.assert_allclose(flipped, plain * [1, -1, -1], atol=1e-12)
    np.testing.assert_allclose(np.abs(plain.T @ turn[:, [0, 2, 1]]), np.eye(3), atol=1e-12)


def test_of_entries_of_equal_magnitude_the_first_decides() -> None:
    """-(1, -1)/√2 and (1, -1)/√2 are one component: rounding must not choose."""
    for tiny in (1e-9, -1e-9):
        matrix = np.diag([1.0, 1.0 + tiny, 0.2, 0.1]) + np.array(
            [[0, -0.5, 0, 0], [-0.5, 0, 0, 0], [0] * 4, [0] * 4]
        )
        first = basis(of_matrix(matrix, 2.3), Axes()).vectors[:, 0]
        np.testing.assert_allclose(first, [0.5**0.5, -(0.5**0.5), 0, 0], atol=1e-6)


def test_the_last_components_can_be_axes() -> None:
    result = basis(covariance(1, 4, 2, 3), Axes(north=4, meridian=3, equinox=2))
    assert result.variances == pytest.approx((2, 3, 1))


REFUSED = [
    ("component 0", Axes(north=0), (4, 3, 2, 1), "north is component 0, expected 1 … 4"),
    ("a component past D", Axes(equinox=-5), (4, 3, 2, 1), "equinox is component -5, expected 1 … 4"),
    ("one component twice", Axes(north=1, meridian=-1), (4, 3, 2, 1), "must be three different components"),
    ("two dimensions", Axes(), (2, 1), "a sphere needs at least 3"),
    ("equal variances", Axes(), (4, 3, 3, 1), "components 2 and 3 have the same variance (3 and 3)"),
    ("an axis and the next component", Axes(), (4, 3, 2, 2), "components 3 and 4 have the same variance"),
    ("an axis and the one before", Axes(north=3, meridian=2, equinox=4), (4, 4, 3, 2, 1), "components 1 and 2 have"),
    ("equal but for rounding", Axes(), (4, 3, 3 + 1e-6, 1), "neither direction is determined"),
    ("no variance at all", Axes(), (0, 0, 0, 0), "the same variance (0 and 0)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("axes", "variances", "problem"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_an_axis_that_is_not_determined_is_refused(
    axes: Axes, variances: tuple[float, ...], problem: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        basis(covariance(*variances), axes)
    assert problem in str(refusal.value)


def test_equal_variances_that_no_axis_uses_do_no_harm() -> None:
    assert basis(
        covariance(5, 5, 4, 3, 2, 1, 1), Axes(north=3, meridian=4, equinox=5)
    ).variances == pytest.approx((3, 2, 4))
