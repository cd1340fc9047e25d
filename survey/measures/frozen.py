"""Rows that lie with the dead but are unique: the singletons around black holes.

Black holes whose vectors lie close together are one dead cloud; what is left of their initial noise
spreads it. A live row is frozen if it lies within that spread, or within the void that separates the
cloud from the trained rows. The void is the last factor of two in distance, outwards from the outermost
black hole, that holds no row, or ten times fewer rows than the cloud inside it. It is sought no farther
out than half the cloud's distance from the origin and half the median row's distance from the cloud: rows
beyond no longer lie with the dead. All units are the cloud's own; none is taken from any model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import row_lengths
from survey.onepass.projection import Projections, RowFlags
from survey.onepass.result import PassResult
from survey.records.measured_columns import Frozen

MAX_CLOUDS = 16  # the most populous black holes first
MAX_BLACK_HOLES = 4096  # without a limit, a matrix of nothing but pairs would take minutes
THINNER = 10  # times fewer rows in a void than inside it
VOID_FACTOR = 2.0  # the void's outer distance over its inner one
ULPS = 4.0  # the radius of a cloud of one black hole is what rounding makes it


def frozen(result: PassResult, flags: RowFlags) -> Frozen:
    """The number of frozen rows; None if no row is dead. flags: from `frozen_rows`, [V]."""
    return Frozen(frozen_rows=int(flags.sum()) if result.black_hole_rows else None)


def frozen_rows(projections: Projections) -> RowFlags:
    """The unique rows that lie with the dead, [V]."""
    flags = np.zeros(len(projections.usable), dtype=bool)
    left = projections.firsts[projections.usable[projections.firsts]][:MAX_BLACK_HOLES]
    for _ in range(MAX_CLOUDS):
        if len(left) == 0:
            break
        first = projections.rows[left[0]]
        distances, median = _distances(projections, first)
        in_cloud = distances[left] < min(_length(first) / 2, median / 4)
        in_cloud[0] = True
        cloud, left = left[in_cloud], left[~in_cloud]
        if len(cloud) == 1:
            flags |= _rows_around(projections, cloud, first, distances, median)
        else:
            vectors = projections.rows[cloud].astype(np.float64)
            centre = (np.add.reduce(vectors, axis=0) / len(cloud)).astype(np.float32)
            flags |= _rows_around(projections, cloud, centre, *_distances(projections, centre))
    return flags & ~projections.dead


def _distances(projections: Projections, centre: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Every row's distance from a centre, [V], and the median of the usable rows'."""
    squared = projections.squared_distances(centre)
    return np.sqrt(squared), projections.median_distance(squared)


def _rows_around(
    projections: Projections,
    cloud: NDArray[np.int64],
    centre: NDArray[np.float32],
    distances: NDArray[np.float32],
    median: float,
) -> RowFlags:
    """The rows that lie with a cloud of black holes, [V].

    cloud: the first row of each. distances: of every row from the cloud's centre, [V]; median: of these.
    """
    length = _length(centre)
    radius = max(float(distances[cloud].max()), ULPS * projections.half_step * length)
    farthest = min(length, median) / 2
    # Of 150,000 rows few lie so near, and only these are sorted; unusable rows are infinitely far.
    nearby = distances[distances <= VOID_FACTOR * max(radius, farthest)]
    return distances <= _void_start(np.sort(nearby), radius, farthest)


def _void_start(distances: NDArray[np.float32], radius: float, farthest: float) -> float:
    """The distance at which the void around a cloud begins; `radius` if there is no void.

    distances: ascending, [N], at least all up to VOID_FACTOR × the larger of radius and farthest.
    """
    starts = np.concatenate([[radius], distances[(distances > radius) & (distances <= farthest)]])
    inside = np.searchsorted(distances, starts, side="right")
    in_void = np.searchsorted(distances, starts * VOID_FACTOR, side="right") - inside
    voids = np.flatnonzero(in_void * THINNER <= inside)
    return float(starts[voids[-1]]) if len(voids) else radius


def _length(row: NDArray[np.float32]) -> float:
    return float(row_lengths(row[None])[0])
