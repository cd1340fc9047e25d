"""Where two populations that overlap are divided without bias: as many rows of each lie on the other's side.

The bottom of a valley lies too far out: the far population is the larger by far, and its thin end reaches
below the near one's. On the logarithmic scale the near one is nearly normal; its size, place and width are
fitted to the histogram by expectation maximisation (Dempster, Laird and Rubin 1977). The far one may have any
shape: of its thin end alone, between the two, the logarithm of the density is fitted by a parabola, which
that of a normal distribution is, by Poisson regression (McCullagh and Nelder 1989).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp2, sqrt

import numpy as np
from numpy.typing import NDArray

from survey.populations.valley import OCTAVE_BINS, OCTAVES, log_bins, octaves_of_bins

ROUNDS = 20
LEAST = 1e-300  # rows expected in a bin far from both
OUTSIDE_NEAR, BELOW_MEDIAN = 3.0, 0.25  # widths of the two, between which the thin end is fitted
GROUPS = 5  # of bins in a width of the far population: fewer empty ones
LEAST_GROUPS = 4  # of those, with rows
STEEPEST = 30.0  # exponents
LN_2 = 0.6931471805599453
LOWER = 0.1587  # of a normal distribution lies a standard deviation below its mean


@dataclass(frozen=True, slots=True)
class Normal:
    """So many rows, around a middle with a width, in bins."""

    rows: float
    middle: float
    width: float

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Normal:
        """By the lower half alone."""
        below = np.cumsum(counts)
        low, middle = (int(np.searchsorted(below, share * below[-1])) for share in (LOWER, 0.5))
        return cls(float(below[-1]), middle, max(middle - low, 1))

    def expected(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        """Rows in each bin."""
        height = self.rows / (self.width * sqrt(2.0 * np.pi))
        rows: NDArray[np.float64] = height * np.exp(-(((bins - self.middle) / self.width) ** 2) / 2.0)
        return rows


def unbiased_cut(distances: NDArray[np.float32], cut: float, dims: int) -> float:
    """Beside the cut in a valley of distances, [N]. dims: D, of which random rows vary by √(1 / 2D)."""
    counts = np.bincount(log_bins(distances), minlength=OCTAVES * OCTAVE_BINS)
    start = int(log_bins(np.array([cut], dtype=np.float32))[0])
    near, thin_end = _fitted(counts, start, OCTAVE_BINS / (LN_2 * sqrt(2.0 * dims)))
    bins = np.arange(len(counts))
    left_out = near.rows - np.cumsum(near.expected(bins))
    balanced = (np.cumsum(thin_end) >= left_out) & (bins >= near.middle)
    return exp2(octaves_of_bins(float(np.argmax(balanced))))


def _fitted(counts: NDArray[np.int64], start: int, least: float) -> tuple[Normal, NDArray[np.float64]]:
    """The near population, and the rows of the far one in each bin below its median.

    counts: of rows, [bins]. least: the width that chance gives to the near one.
    """
    total, bins = int(counts.sum()), np.arange(len(counts))
    near = Normal.of(np.where(bins < start, counts, 0))
    far = Normal.of(np.where(bins < start, 0, counts))
    thin_end = _thin_end(counts, near, far)
    here = np.where(bins <= far.middle - far.width, counts, 0)
    for _ in range(ROUNDS):
        inner = near.expected(bins)
        inside = here * inner / np.maximum(inner + thin_end, LEAST)
        rows = float(inside.sum())
        if rows < 1.0:  # the far one takes all, as where many rows lie at one distance
            break
        middle = float((inside * bins).sum()) / rows
        width = sqrt(float((inside * (bins - middle) ** 2).sum()) / rows)
        near = Normal(rows, middle, max(width, least))
        far = Normal(total - rows, far.middle, far.width)
        thin_end = _thin_end(counts, near, far)
    return near, thin_end


def _thin_end(counts: NDArray[np.int64], near: Normal, far: Normal) -> NDArray[np.float64]:
    """Expected rows of the far population in each bin below its median, [bins].

    counts: of all rows, [bins]. If too few are between the two, those of a normal distribution.
    """
    bins = np.arange(len(counts))
    units = (bins - far.middle) / far.width
    step = max(1, int(far.width / GROUPS))
    first, stop = near.middle + OUTSIDE_NEAR * near.width, far.middle - BELOW_MEDIAN * far.width
    edges = np.arange(int(first), int(stop), step)
    if len(edges) > LEAST_GROUPS:
        in_group = np.add.reduceat(counts, edges)[:-1].astype(np.float64)
        parabola = _log_density((edges[:-1] + (step - 1) / 2 - far.middle) / far.width, in_group)
        if parabola is not None:
            exponents = np.minimum(np.polynomial.polynomial.polyval(units, parabola), STEEPEST)
            return np.where(units < 0, np.exp(exponents) / step, 0.0)
    return np.where(units < 0, far.expected(bins), 0.0)


def _log_density(places: NDArray[np.floating], rows: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """A parabola's coefficients, the constant first, of the logarithm of expected rows at places, [N] each.

    By Newton's steps of a Poisson regression. None if few places have rows, or it does not fall to one end.
    """
    if np.count_nonzero(rows) < LEAST_GROUPS:
        return None
    powers = np.stack([np.ones_like(places), places, places**2], axis=1)
    weights = np.sqrt(rows + 0.5)
    parabola, *_ = np.linalg.lstsq(powers * weights[:, None], np.log(rows + 0.5) * weights, rcond=None)
    for _ in range(ROUNDS):
        expected = np.exp(np.minimum(powers @ parabola, STEEPEST))
        slopes = powers.T @ (powers * expected[:, None]) + 1e-9 * np.eye(3)
        parabola = parabola + np.linalg.solve(slopes, powers.T @ (rows - expected))
    falls = np.isfinite(parabola).all() and parabola[2] < 0 and parabola[1] + 2 * parabola[2] * places[0] > 0
    return parabola if falls else None
