"""Whether distances divide into a near and a far population."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from survey.populations.valley import far_void, log_bins, valley, valley_or_void, void

Distances = NDArray[np.float32]


def spread(middle: float, width: float, count: int, seed: int = 0) -> Distances:
    """Distances on a logarithmic scale around the middle."""
    draw = np.random.default_rng([seed, count])
    return (middle * np.exp(width * draw.normal(size=count))).astype(np.float32)


@pytest.mark.parametrize(
    ("near", "far"),
    [
        pytest.param(
            spread(0.5, 0.06, 300), spread(1.06, 0.15, 20_000), id="narrow, and a wide one twice as far"
        ),
        pytest.param(spread(0.05, 0.06, 5000), spread(1.0, 0.06, 500), id="most rows near"),
        pytest.param(spread(0.7, 0.03, 200), spread(1.0, 0.03, 5000), id="close, and very narrow"),
    ],
)
def test_a_valley_divides_two_peaks(near: Distances, far: Distances) -> None:
    divided = valley(np.concatenate([near, far]))
    assert divided is not None
    cut, sigmas = divided
    assert np.mean(near < cut) > 0.98
    assert np.mean(far < cut) < 0.002
    assert sigmas > 5


@pytest.mark.parametrize(
    "distances",
    [
        pytest.param(spread(1.0, 0.1, 10_000), id="one peak"),
        pytest.param(spread(1.0, 1.5, 10_000), id="one wide peak"),
        pytest.param(np.arange(1, 5001, dtype=np.float32), id="even on a linear scale"),
        pytest.param(np.concatenate([spread(0.8, 0.1, 1000), spread(1.0, 0.1, 1000)]), id="peaks that merge"),
        pytest.param(np.ones(100, dtype=np.float32), id="all alike"),
        pytest.param(np.zeros(100, dtype=np.float32), id="all zero"),
    ],
)
def test_nothing_divides_one_peak(distances: Distances) -> None:
    assert valley_or_void(distances) is None


@pytest.mark.parametrize(
    ("near", "cut"),
    [
        pytest.param(spread(0.02, 0.1, 16), True, id="sixteen rows, fifty times closer"),
        pytest.param(spread(0.02, 0.1, 12), True, id="twelve"),
        pytest.param(spread(0.02, 0.1, 8), False, id="eight are too few"),
        pytest.param(spread(0.6, 0.02, 20), True, id="twenty rows close together, a third nearer"),
        pytest.param(spread(0.85, 0.02, 20), False, id="hardly nearer"),
    ],
)
def test_a_void_divides_a_few_rows_from_all_others(near: Distances, cut: bool) -> None:
    distances = np.concatenate([near, spread(1.0, 0.02, 5000)])
    assert (void(distances) is not None) == cut


@pytest.mark.parametrize(
    ("rows", "far", "cut"),
    [
        pytest.param(950, spread(1.0, 0.1, 50), True, id="one row in twenty, three times as far"),
        pytest.param(950, spread(1.0, 0.8, 50), False, id="those without a gap"),
        pytest.param(9_500, spread(1.0, 0.1, 50), False, id="too few of many"),
        pytest.param(200, spread(1.0, 0.1, 10), False, id="ten are too few"),
    ],
)
def test_a_void_divides_most_rows_from_a_few_far_ones(rows: int, far: Distances, cut: bool) -> None:
    near = spread(0.3, 0.1, rows)
    divided = far_void(np.concatenate([near, far]))
    assert (divided is not None) == cut
    assert divided is None or near.max() < divided < far.min()


def test_bins_are_a_64th_of_an_octave_wide_at_any_distance() -> None:
    ratios = np.float32(2.0) ** np.arange(-10, 11, dtype=np.float32)
    assert np.diff(log_bins(ratios)).tolist() == [64] * 20
    assert log_bins(np.float32([0.0, 1e-30])).tolist() == [0, 0]
    within = np.float32(2.0 ** (np.arange(0, 64) / 64 + 1 / 128))
    assert np.ptp(np.diff(log_bins(within))) == 0
