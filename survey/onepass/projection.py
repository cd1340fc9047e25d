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

from survey.onepass import kernels

LONGEST = 2.0**40  # medians: longer rows are cut to this length, so that squares stay in float32

RowFlags = NDArray[np.bool_]


def signs(dims: int) -> NDArray[np.float64]:
    """+1 or −1 for each of D dimensions, [D]: the lowest bit of the xxh3-64 of its number."""
    drawn = [xxhash.xxh3_64_intdigest(d.to_bytes(8, "little")) & 1 for d in range(dims)]
    return 1.0 - 2.0 * np.array(drawn, dtype=np.float64)


def projected_directions(projected: NDArray[np.float64], squared: NDArray[np.float64]) -> NDArray[np.float32]:
    """Projections of w_i / ‖w_i‖, [R, 32]; zero if a row has no direction.

    projected: rows, [R, 32]. squared: the rows' squared lengths, [R].
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        directions = (projected / np.sqrt(squared)[:, None]).astype(np.float32)
    directions[~np.isfinite(squared) | (squared == 0.0)] = 0.0
    return directions


@dataclass(frozen=True, slots=True)
class Projections:
    """Every row's projection in units of the median norm, [V, 32], and which rows can be compared.

    usable: rows that are finite and not almost zero, [V]. dead: rows in a black hole, [V]. firsts: the first
    row of each black hole, the most populous first, [K]. half_ulp: how far rounding may move a row, relative
    to its length.
    """

    rows: NDArray[np.float32]
    usable: RowFlags
    dead: RowFlags
    firsts: NDArray[np.int64]
    half_ulp: float

    @property
    def distinct(self) -> NDArray[np.int64]:
        """Numbers of the usable rows, each black hole once, ascending, [N]."""
        once = self.usable & ~self.dead
        once[self.firsts] = self.usable[self.firsts]
        return np.flatnonzero(once)

    def squared_distances(self, centre: NDArray[np.float32]) -> NDArray[np.float32]:
        """‖row − centre‖² of every row from a centre [32], [V]; infinite if a row is not usable."""
        squared = squared_distances(self.rows, centre)
        squared[~self.usable] = np.inf
        return squared


def projected_rows(
    directions: NDArray[np.float32], norms: NDArray[np.float64], usable: RowFlags, median: float
) -> NDArray[np.float32]:
    """Projections of rows from those of their directions, [V, 32], in units of the median norm.

    norms, usable: [V]. Rows that are not usable become zero.
    """
    lengths = np.zeros(len(norms), dtype=np.float32)
    with np.errstate(over="ignore"):
        lengths[usable] = np.minimum(norms[usable] / median, LONGEST)
    rows: NDArray[np.float32] = directions * lengths[:, None]
    return rows


def squared_distances(rows: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """‖row − centre‖² of projections, [R, 32] and [32] -> [R]; the same bits on every processor."""
    squared = np.empty(len(rows), dtype=np.float32)
    kernels.distances.square_distances(rows, centre, squared)
    return squared
