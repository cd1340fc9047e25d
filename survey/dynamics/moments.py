"""Positions and velocities of a cloud of dead rows, one recorded step at a time, in float64."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moment:
    """One recorded step: positions and thermal velocities of the dead rows, [K, D]; their centroid and bulk
    velocity, [D]."""

    positions: Positions
    centroid: Positions
    bulk: Positions
    thermal: Positions


def moments_of_deltas(deltas: Iterable[Positions], start: Positions | None) -> Iterable[Moment]:
    """Moments from the rows' moves, each [K, D].

    start: the rows before the first move, [K, D], or None for displacements.
    """
    positions = None if start is None else start.copy()
    for delta in deltas:
        positions = delta.copy() if positions is None else positions + delta
        bulk = delta.mean(axis=0)
        yield Moment(positions, positions.mean(axis=0), bulk, delta - bulk)


def moments_of_weights(weights: Iterable[Positions], *, displaced: bool = False) -> Iterable[Moment]:
    """Moments from the rows themselves, each [K, D]; the first step's velocities are unknown and zero.

    displaced: positions are relative to the first recorded ones.
    """
    before: Positions | None = None
    origin: Positions | float = 0.0
    for rows in weights:
        if before is None:
            before, origin = rows, rows if displaced else 0.0
        moved = rows - before
        bulk = moved.mean(axis=0)
        positions = rows - origin
        yield Moment(positions, positions.mean(axis=0), bulk, moved - bulk)
        before = rows
