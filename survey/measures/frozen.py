"""Rows that lie with the dead but are unique: the singletons around black holes.

Black holes whose vectors lie close together are one dead cloud; what is left of their initial noise
spreads it. A live row is frozen when it lies within that spread, or within the void that separates the
cloud from the trained rows: outwards from the outermost black hole the last factor of two in distance
that holds no row, or ten times fewer than the cloud inside it. A void is sought no farther out than
half the cloud's distance from the origin and half the median row's distance from the cloud: what is
farther lies no longer with the dead. The units are the cloud's own, none is taken from any model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.projection import Projections, RowFlags
from survey.onepass.result import PassResult
from survey.records.measurement import Frozen

MAX_CLOUDS = 16  # at most, the most populous black holes first
MAX_BLACK_HOLES = 4096  # at most: beyond them a matrix of nothing but pairs would take minutes
THINNER = 10
VOID_FACTOR = 2.0  # of the void, as a factor
ULPS = 4.0  # a cloud of one black hole is as wide as rounding makes it


def frozen(folded: PassResult, flags: RowFlags) -> Frozen:
    """How many rows lie with the dead; None if nothing is dead. flags: as `frozen_rows` found them, [V]."""
    return Frozen(frozen_rows=int(flags.sum()) if folded.members else None)


def frozen_rows(sketches: Projections) -> RowFlags:
    """The unique rows that lie with the dead, [V]."""
    flags = np.zeros(len(sketches.usable), dtype=bool)
    left = sketches.firsts[sketches.usable[sketches.firsts]][:MAX_BLACK_HOLES]
    for _ in range(MAX_CLOUDS):
        if len(left) == 0:
            break
        first = sketches.rows[left[0]]
        apart, median = _apart(sketches, first)
        together = apart[left] < min(_length(first) / 2, median / 4)
        together[0] = True
        holes, left = left[together], left[~together]
        if len(holes) == 1:
            flags |= _around(sketches, holes, first, apart, median)
        else:
            vectors = sketches.rows[holes].astype(np.float64)
            centre = (np.add.reduce(vectors, axis=0) / len(holes)).astype(np.float32)
            flags |= _around(sketches, holes, centre, *_apart(sketches, centre))
    return flags & ~sketches.dead


def _apart(sketches: Projections, centre: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Every row's distance from a centre, [V], and the usable ones' median."""
    apart = np.sqrt(sketches.squared_distances(centre))
    return apart, float(np.median(apart[sketches.usable]))


def _around(
    sketches: Projections,
    holes: NDArray[np.int64],
    centre: NDArray[np.float32],
    apart: NDArray[np.float32],
    median: float,
) -> RowFlags:
    """Rows that lie with a cloud of black holes."""
    length = _length(centre)
    radius = max(float(apart[holes].max()), ULPS * sketches.half_ulp * length)
    farthest = min(length, median) / 2
    # Of 150,000 rows few lie so near, and the others need no sorting; unusable ones are infinitely far.
    within = apart[apart <= VOID_FACTOR * max(radius, farthest)]
    return apart <= _edge(np.sort(within), radius, farthest)


def _edge(apart: NDArray[np.float32], radius: float, farthest: float) -> float:
    """Where the void around a cloud begins; `radius` where there is none.

    apart: ascending, at least all up to WIDTH times the farther of both.
    """
    starts = np.concatenate([[radius], apart[(apart > radius) & (apart <= farthest)]])
    inside = np.searchsorted(apart, starts, side="right")
    within = np.searchsorted(apart, starts * VOID_FACTOR, side="right") - inside
    void = np.flatnonzero(within * THINNER <= inside)
    return float(starts[void[-1]]) if len(void) else radius


def _length(row: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.add.reduce(row * row)))
