"""Steps that should have been recorded and were not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Gap:
    """The number of records that are missing between two recorded steps, by the most common distance."""

    after: int
    before: int
    missing: int


def gaps(steps: NDArray[np.int64]) -> list[Gap]:
    """Missing records between recorded steps [N]: distances larger than the most common one."""
    if len(steps) < 3:
        return []
    distances = np.diff(steps)
    values, counts = np.unique(distances, return_counts=True)
    stride = int(values[counts == counts.max()][-1])  # of equally common ones the largest: no false alarm
    return [
        Gap(int(steps[index]), int(steps[index + 1]), -(-int(distances[index]) // stride) - 1)
        for index in np.flatnonzero(distances > stride)
    ]
