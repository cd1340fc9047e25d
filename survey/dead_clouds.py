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

from survey.sketch import Flags, Sketches

CLOUDS = 16  # at most, the most populous black holes first
HOLES = 4096  # at most: beyond them a matrix of nothing but pairs would take minutes
THINNER = 10
WIDTH = 2.0  # of the void, as a factor
ULPS = 4.0  # a cloud of one black hole is as wide as rounding makes it


def frozen_rows(sketches: Sketches) -> Flags:
    """The unique rows that lie with the dead, [V]."""
    flags = np.zeros(len(sketches.usable), dtype=bool)
    left = sketches.firsts[sketches.usable[sketches.firsts]][:HOLES]
    for _ in range(CLOUDS):
        if len(left) == 0:
            break
        apart = np.sqrt(sketches.squared_distances(sketches.rows[left[0]]))
        median = float(np.median(apart[sketches.usable]))
        together = apart[left] < min(_length(sketches.rows[left[0]]) / 2, median / 4)
        together[0] = True
        flags |= _around(sketches, left[together])
        left = left[~together]
    return flags & ~sketches.dead


def _around(sketches: Sketches, holes: NDArray[np.int64]) -> Flags:
    """Rows that lie with a cloud of black holes."""
    vectors = sketches.rows[holes]
    centre = (np.add.reduce(vectors.astype(np.float64), axis=0) / len(holes)).astype(np.float32)
    apart = np.sqrt(sketches.squared_distances(centre))
    length, median = _length(centre), float(np.median(apart[sketches.usable]))
    radius = max(float(apart[holes].max()), ULPS * sketches.half_ulp * length)
    return apart <= _edge(np.sort(apart[sketches.usable]), radius, min(length, median) / 2)


def _edge(apart: NDArray[np.float32], radius: float, farthest: float) -> float:
    """Where the void around a cloud begins; `radius` where there is none. apart: ascending."""
    starts = np.concatenate([[radius], apart[(apart > radius) & (apart <= farthest)]])
    inside = np.searchsorted(apart, starts, side="right")
    within = np.searchsorted(apart, starts * WIDTH, side="right") - inside
    void = np.flatnonzero(within * THINNER <= inside)
    return float(starts[void[-1]]) if len(void) else radius


def _length(row: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.add.reduce(row * row)))
