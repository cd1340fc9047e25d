"""Rows in 32 dimensions, so that all of them can be held and their distances looked at after one pass.

A CountSketch (Charikar, Chen and Farach-Colton 2002): element d is added to dimension d mod 32 with a
sign of its own. It is linear, so differences of rows are sketched as well as rows are, and squared
distances are estimated without bias, with a relative standard error of √(2/32) = 25 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

LONGEST = 2.0**40  # medians: longer rows count as so long, that their squares stay in float32

RowFlags = NDArray[np.bool_]


def signs(dims: int) -> NDArray[np.float64]:
    """+1 or −1 for each of D dimensions: the lowest bit of the xxh3-64 of its number."""
    drawn = [xxhash.xxh3_64_intdigest(d.to_bytes(8, "little")) & 1 for d in range(dims)]
    return 1.0 - 2.0 * np.array(drawn, dtype=np.float64)


def projected_directions(sketched: NDArray[np.float64], squared: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sketches of directions, from those of rows and the rows' squared lengths; zero where there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (sketched / np.sqrt(squared)[:, None]).astype(np.float32)
    found[~np.isfinite(squared) | (squared == 0.0)] = 0.0
    return found


@dataclass(frozen=True, slots=True)
class Projections:
    """Every row's sketch in units of the median norm, [V, 32], and which rows are worth looking at.

    usable: finite and not almost zero. dead: in a black hole. firsts: the first row of each black
    hole, the most populous first. half_ulp: how far rounding may move a row, relative to its length.
    """

    rows: NDArray[np.float32]
    usable: RowFlags
    dead: RowFlags
    firsts: NDArray[np.int64]
    half_ulp: float

    @property
    def distinct(self) -> NDArray[np.int64]:
        """Usable rows, each black hole once."""
        once = self.usable & ~self.dead
        once[self.firsts] = self.usable[self.firsts]
        return np.flatnonzero(once)

    def squared_distances(self, centre: NDArray[np.float32]) -> NDArray[np.float32]:
        """‖row − centre‖² of every row, [V]; infinite where a row is not usable."""
        found = squared_distances(self.rows, centre)
        found[~self.usable] = np.inf
        return found


def projected_rows(
    directions: NDArray[np.float32], norms: NDArray[np.float64], usable: RowFlags, median: float
) -> NDArray[np.float32]:
    """Sketches of rows from those of their directions, [V, 32], in units of the usable rows' median norm."""
    lengths = np.zeros(len(norms), dtype=np.float32)
    with np.errstate(over="ignore"):
        lengths[usable] = np.minimum(norms[usable] / median, LONGEST)
    rows: NDArray[np.float32] = directions * lengths[:, None]
    return rows


def squared_distances(rows: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """‖row − centre‖², [R, SKETCH_DIMS] -> [R]; the same bits on every processor."""
    from survey.onepass.kernels.distances import (
        square_distances,  # here, so that planning never loads a compiler
    )

    found = np.empty(len(rows), dtype=np.float32)
    square_distances(rows, centre, found)
    return found
