"""Among rows of one length, those of the one narrow cone that stands out.

If all rows have one length, nothing is shorter, and untrained rows may lie little closer together than
trained ones: the four nearest rows of any row are near by chance, and hide a cone. So from many rows the mean
of the nearest is taken, and of those nearest to that mean, as a mean shift does (Fukunaga and Hostetler
1975): it moves to the axis of a cone, on which chance averages out. Coordinates start at the common mean of
all rows: what these share hides a cone, and the way from there to its centre is the line along which it lies
farthest apart. Clusters of trained rows lie as close together as each other: none of them stands out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import row_lengths
from survey.onepass.projection import FineRows, Projections
from survey.populations.dense_spots import SAMPLE, RowNumbers
from survey.populations.evenly import evenly
from survey.populations.valley import FEWEST

Vectors = NDArray[np.float64]

ANCHORS = 512  # rows from which a mean is moved
NEAREST = (8, 16, 24, 24)  # of which the mean is taken, step by step
ALIKE = 0.5  # cosine of axes whose cones overlap
# Times farther along their axis than the next cone's rows lie: planted ones 1.27 or more, trained rows up to
# 1.07, trained rows of other lengths brought to length 1 up to 1.16.
STANDS_OUT = 1.2
EXACT = 4096.0  # the mean is a multiple of 1/4096, so that sums of differences from it are exact in float64
TAIL = 3.0  # standard deviations of the other rows: where a cone's rows are first looked for
STEPS, ROUNDS = 4, 3  # in which the cut settles, and the axis


def lone_cone(projections: Projections, active: RowNumbers, sample: RowNumbers) -> RowNumbers | None:
    """The rows of the cone that stands out, ascending; None without one. sample: some of the active rows."""
    mean, axis = _axis_that_stands_out(_directions(projections, sample))
    if axis is None:
        return None
    along = _along(projections, active, mean, axis)
    for _ in range(ROUNDS):
        inside = _inside(along)
        if len(inside) < FEWEST:
            return None
        along = _along_their_axis(projections, active, mean, evenly(inside, SAMPLE))
    return active[_inside(along)]


def _axis_that_stands_out(rows: Vectors) -> tuple[Vectors, Vectors | None]:
    """The rows' mean, and the axis from there on which rows lie closer together than on any other, [128].

    No axis if others are as good. rows: of length 1, [S, 128]. Sums of bfloat16 numbers are exact in float64
    but for the smallest, so that no order of summation shows.
    """
    mean: Vectors = np.round(np.add.reduce(rows, axis=0) / len(rows) * EXACT) / EXACT
    rows = rows - mean
    sums = rows[evenly(np.arange(len(rows)), ANCHORS)]
    for count in NEAREST:
        sums = _sums_of_farthest(sums, rows, count)
    closeness = row_lengths(sums)
    if not closeness.all():
        return mean, None
    axes = sums / closeness[:, None]
    best = int(np.argmax(closeness))
    others = closeness[axes @ axes[best] < ALIKE]
    stands_out = len(others) > 0 and closeness[best] >= STANDS_OUT * others.max()
    return mean, axes[best] if stands_out else None


def _sums_of_farthest(sums: Vectors, rows: Vectors, count: int) -> Vectors:
    """The sum of those of these rows [S, 128] that lie farthest along each of these vectors, [N, 128]."""
    along = sums @ rows.T
    count = min(count, len(rows))
    farthest = np.argpartition(-along, count - 1, axis=1)[:, :count]
    summed: Vectors = rows[farthest].sum(axis=1)
    return summed


def _along(projections: Projections, active: RowNumbers, mean: Vectors, axis: Vectors) -> Vectors:
    """The coordinate of each active row's direction along an axis of length 1, from the mean on, [N]."""
    directions = FineRows(np.ones(len(projections.fine)), projections.fine)
    distances = directions.distances(axis)[active].astype(np.float64)
    along: Vectors = 1.0 - distances * distances / 2.0 - float(np.add.reduce(mean * axis))
    return along


def _along_their_axis(
    projections: Projections, active: RowNumbers, mean: Vectors, some: RowNumbers
) -> Vectors:
    """As `_along`, on the axis of some of the active rows; of each of these, on the axis of the others.

    Otherwise each would pull the axis towards itself: of twenty rows, four that are none of them stay.
    """
    rows = _directions(projections, active[some]) - mean
    total = np.add.reduce(rows, axis=0)
    along = _along(projections, active, mean, total / row_lengths(total[None])[0])
    others = total - rows
    along[some] = np.add.reduce(others * rows, axis=1) / row_lengths(others)
    return along


def _inside(along: Vectors) -> RowNumbers:
    """Indices of the coordinates [N] that lie in the cone; none if nothing stands apart.

    The cut lies where two normal distributions of one width are equally dense (Fisher's discriminant).
    """
    low, middle = np.quantile(along, (0.1587, 0.5)).tolist()
    width = middle - low  # a standard deviation, on the side where no cone is
    cut = middle + TAIL * width
    for _ in range(STEPS):
        is_inside = along > cut
        count = int(is_inside.sum())
        if not 0 < count < len(along):
            break
        inner, outer = float(along[is_inside].mean()), float(along[~is_inside].mean())
        ratio = float(np.log((len(along) - count) / count))
        cut = (inner + outer) / 2.0 + width * width * ratio / (inner - outer)
    return np.flatnonzero(along > cut)


def _directions(projections: Projections, rows: RowNumbers) -> Vectors:
    """Of length 1, [R, 128]."""
    return FineRows(np.ones(len(rows)), projections.fine[rows]).vectors().astype(np.float64)
