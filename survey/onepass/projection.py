"""Rows projected to 32 dimensions, so that all of them fit in memory and can be compared after one pass.

A CountSketch (Charikar, Chen and Farach-Colton 2002): element d is added to dimension d mod 32 with a
sign of its own. It is linear, so differences of rows are projected as rows are, and squared distances are
estimated without bias, with a relative standard error of √(2/32) = 25 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from survey.numerics.vectors import row_lengths
from survey.onepass import kernels
from survey.onepass.row_threads import IN_THIS_THREAD, RowThreads

LONGEST = 2.0**40  # medians: longer rows are cut to this length, so that squares stay in float32

RowFlags = NDArray[np.bool_]


def signs(dims: int) -> NDArray[np.float64]:
    """+1 or −1 for each of D dimensions, [D]: the lowest bit of the xxh3-64 of its number."""
    drawn = [xxhash.xxh3_64_intdigest(d.to_bytes(8, "little")) & 1 for d in range(dims)]
    return 1.0 - 2.0 * np.array(drawn, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Projections:
    """Every row's projection in units of the median norm, [V, 32], and which rows can be compared.

    lengths: the exact norms in the same units, 0 if a row is not usable, [V]. fine: the rows' directions in
    bfloat16, [V, 128]. usable: rows that are finite and not almost zero, [V]. dead: rows in a black hole,
    [V]. firsts: the first row of each black hole, the most populous first, [K]. half_step: how far rounding
    may move a row, relative to its length. dims: D. threads: share the work on all rows.
    """

    rows: NDArray[np.float32]
    lengths: NDArray[np.float64]
    fine: NDArray[np.uint16]
    usable: RowFlags
    dead: RowFlags
    firsts: NDArray[np.int64]
    half_step: float
    dims: int
    threads: RowThreads = IN_THIS_THREAD

    def subset(self, chosen: NDArray[np.int64]) -> FineRows:
        """The exact lengths of some rows [R], and their fine directions, [R, 128]."""
        return FineRows(self.lengths[chosen], self.fine[chosen], self.threads)

    @property
    def all_fine(self) -> FineRows:
        return FineRows(self.lengths, self.fine, self.threads)

    @property
    def distinct(self) -> NDArray[np.int64]:
        """Numbers of the usable rows, each black hole once, ascending, [N]."""
        once = self.usable & ~self.dead
        once[self.firsts] = self.usable[self.firsts]
        return np.flatnonzero(once)

    def squared_distances(self, centre: NDArray[np.float32]) -> NDArray[np.float32]:
        """‖row − centre‖² of every row from a centre [32], [V]; infinite if a row is not usable."""
        squared = squared_distances(self.rows, centre, self.threads)
        squared[~self.usable] = np.inf
        return squared

    def median_distance(self, squared: NDArray[np.float32]) -> float:
        """The median distance of the usable rows, from `squared_distances`, as numpy's; NaN if none is."""
        count = int(self.usable.sum())
        if count == 0:
            return float("nan")
        ranks = np.unique([(count - 1) // 2, count // 2])
        middle = np.empty(len(ranks), dtype=np.uint32)
        kernels.ranks.find_ranks(squared.view(np.uint32), ranks, middle)
        return float(np.sqrt(middle.view(np.float32)).mean())


def relative_lengths(norms: NDArray[np.float64], usable: RowFlags, median: float) -> NDArray[np.float64]:
    """Norms [V] in units of the median norm; 0 if a row is not usable."""
    lengths = np.zeros(len(norms))
    with np.errstate(over="ignore", invalid="ignore"):  # norms beyond float64
        lengths[usable] = np.minimum(norms[usable] / median, LONGEST)
    return lengths


@dataclass(frozen=True, slots=True)
class FineRows:
    """Rows by their exact lengths [R] and their directions in 128 dimensions, bfloat16, [R, 128]."""

    lengths: NDArray[np.float64]
    directions: NDArray[np.uint16]
    threads: RowThreads = IN_THIS_THREAD

    def vectors(self) -> NDArray[np.float32]:
        """The rows, [R, 128]."""
        words = self.directions.astype(np.uint32) << 16
        vectors: NDArray[np.float32] = words.view(np.float32) * self.lengths.astype(np.float32)[:, None]
        return vectors

    def distances(self, centre: NDArray[np.float64]) -> NDArray[np.float32]:
        """‖row − centre‖ of each row from a centre [128], [R]; exact if the centre is the origin.

        By (n − γ)² + n·γ·‖û − ĉ‖², for a row n·û and a centre γ·ĉ: the lengths are exact, so that only the
        angle is estimated, with a relative standard error of √(2/128) of the last term.
        """
        length = float(row_lengths(centre[None])[0])
        if length == 0.0:
            return self.lengths.astype(np.float32)
        apart, direction = np.empty(len(self.lengths), dtype=np.float32), (centre / length).astype(np.float32)
        find = kernels.distances.direction_distances
        self.threads.each(
            len(apart), lambda start, stop: find(self.directions[start:stop], direction, apart[start:stop])
        )
        squared = np.square(self.lengths - length) + self.lengths * length * apart
        distances: NDArray[np.float32] = np.sqrt(squared).astype(np.float32)
        return distances


def squared_distances(
    rows: NDArray[np.float32], centre: NDArray[np.float32], threads: RowThreads = IN_THIS_THREAD
) -> NDArray[np.float32]:
    """‖row − centre‖² of projections, [R, 32] and [32] -> [R]; the same bits on every processor."""
    squared = np.empty(len(rows), dtype=np.float32)
    find = kernels.distances.square_distances
    threads.each(len(rows), lambda start, stop: find(rows[start:stop], centre, squared[start:stop]))
    return squared
