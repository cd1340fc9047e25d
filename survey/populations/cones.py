"""Where rows of one length lie close together: the axes of narrow cones among them.

If all rows have one length, nothing is shorter, and untrained rows may lie little closer together than
trained ones: the four nearest rows of any row are near by chance, and hide a cone. So from many rows the mean
of the nearest is taken, and of those nearest to that mean, as a mean shift does (Fukunaga and Hostetler
1975): it moves to the axis of a cone, on which chance averages out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.projection import FineRows
from survey.populations.evenly import evenly

ANCHORS = 512  # rows from which a mean is moved
NEAREST = (8, 16, 24, 24)  # of which the mean is taken, step by step
WIDE = 64  # rows of a second, steadier mean around each axis
AXES = 8  # the narrowest cones
ALIKE = 0.9  # cosine of axes that are one


def cone_axes(rows: FineRows) -> tuple[list[NDArray[np.float64]], float]:
    """Means of rows around which others lie closest, the closest first, [128] each; how far it stands out.

    That is, how much closer it is than the second, in units of how much closer this is than the last; 0 if
    there are too few to tell. rows: a sample, [S, 128].

    Sums of bfloat16 numbers are exact in float64 but for the smallest, so that no order of summation shows.
    """
    directions = FineRows(np.ones(len(rows.lengths)), rows.directions).vectors().astype(np.float64)
    sums = directions[evenly(np.arange(len(directions)), ANCHORS)]
    for count in NEAREST:
        sums = _sums_of_nearest(sums, directions, count)
    closeness = np.linalg.norm(sums, axis=1)
    axes, chosen = sums / closeness[:, None], np.empty((0, sums.shape[1]))
    means: list[NDArray[np.float64]] = []
    best: list[float] = []
    for index in np.argsort(-closeness, kind="stable").tolist():
        if (chosen @ axes[index] >= ALIKE).any():
            continue
        chosen = np.vstack([chosen, axes[index]])
        best.append(float(closeness[index]))
        wide = _sums_of_nearest(sums[index : index + 1], directions, WIDE)[0]
        means += [sums[index] / NEAREST[-1], wide / min(WIDE, len(directions))]
        if len(chosen) == AXES:
            break
    usual = best[1] - best[-1] if len(best) == AXES else 0.0
    return means, (best[0] - best[1]) / usual if usual > 0.0 else 0.0


def _sums_of_nearest(
    sums: NDArray[np.float64], directions: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """The sum of the directions [S, 128] nearest in angle to each of these vectors, [N, 128]."""
    cosines = sums @ directions.T
    count = min(count, len(directions))
    nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    summed: NDArray[np.float64] = directions[nearest].sum(axis=1)
    return summed
