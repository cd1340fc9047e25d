"""Where two populations that overlap are divided without bias: as many rows of each lie on the other's side.

The bottom of a valley lies too far out: the far population is the larger by far, and its thin end reaches
below the near one's. On the logarithmic scale both are nearly normal there. Their sizes, places and widths
are fitted to the histogram by expectation maximisation (Dempster, Laird and Rubin 1977), the far one to
its lower end, a standard deviation below its median: it may have any shape beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp2, sqrt

import numpy as np
from numpy.typing import NDArray

from survey.populations.valley import OCTAVE_BINS, OCTAVES, log_bins, octaves_of_bins

ROUNDS = 20
HALVINGS = 14  # of the bins between two medians: finer than one bin by far
LEAST = 1e-300  # rows expected in a bin far from both
TAIL_SQUARES = 2.525  # mean square of normal numbers below -1
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

    def beyond(self, place: float, side: float) -> float:
        """How many rows lie beyond: on the upper side (1) or on the lower one (-1)."""
        return self.rows * erfc(side * (place - self.middle) / (self.width * sqrt(2.0))) / 2.0


def unbiased_cut(distances: NDArray[np.float32], cut: float, dims: int) -> float:
    """Beside the cut in a valley of distances, [N]. dims: D, of which random rows vary by √(1 / 2D)."""
    counts = np.bincount(log_bins(distances), minlength=OCTAVES * OCTAVE_BINS)
    start = int(log_bins(np.array([cut], dtype=np.float32))[0])
    near, far = _fitted(counts, start, OCTAVE_BINS / (LN_2 * sqrt(2.0 * dims)))
    low, high = near.middle, far.middle
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        if near.beyond(middle, 1.0) > far.beyond(middle, -1.0):
            low = middle
        else:
            high = middle
    return exp2(octaves_of_bins(low))


def _fitted(counts: NDArray[np.int64], start: int, least: float) -> tuple[Normal, Normal]:
    """The near population and the far one. least: the width that chance gives to the near one."""
    total = int(counts.sum())
    near = Normal.of(np.where(np.arange(len(counts)) < start, counts, 0))
    far = Normal.of(np.where(np.arange(len(counts)) < start, 0, counts))
    bins = np.arange(int(np.flatnonzero(counts)[0]), int(far.middle - far.width) + 1)
    here = counts[bins]
    for _ in range(ROUNDS):
        inner, outer = near.expected(bins), far.expected(bins)
        inside = here * inner / np.maximum(inner + outer, LEAST)
        rows = float(inside.sum())
        middle = float((inside * bins).sum()) / rows
        width = sqrt(float((inside * (bins - middle) ** 2).sum()) / rows)
        near = Normal(rows, middle, max(width, least))
        outside = here - inside
        squares = float((outside * (bins - far.middle) ** 2).sum()) / max(float(outside.sum()), LEAST)
        far = Normal(total - rows, far.middle, max(sqrt(squares / TAIL_SQUARES), 0.5))
    return near, far
