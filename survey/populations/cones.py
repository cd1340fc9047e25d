"""Among rows of one length, the axes of narrow cones, and the rows of the one that stands out.

If all rows have one length, nothing is shorter, and untrained rows may lie little closer together than
trained ones: the four nearest rows of any row are near by chance, and hide a cone. So from many rows the mean
of the nearest is taken, and of those nearest to that mean, as a mean shift does (Fukunaga and Hostetler
1975): it moves to the axis of a cone, on which chance averages out. Coordinates start at the common mean of
all rows: what these share hides a cone, and the way from there to its centre is the line along which it lies
farthest apart. Clusters of trained rows lie as close together as each other: none of them stands out. Neither
does a cone of a third of all rows or more, as their mean lies near it; but a valley divides so many.
"""

from __future__ import annotations

from dataclasses import dataclass

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
AXES = 8  # the narrowest cones
ALIKE = 0.5  # cosine of axes whose cones overlap
# Times farther along the axis of each other than the next cone's rows lie: planted ones 1.29 or more, trained
# rows up to 1.18, single groups of trained rows up to 2.6.
STANDS_OUT = 1.25
COMMON_WAY = 0.1  # length of the mean of directions
EXACT = 4096.0  # the mean is a multiple of 1/4096, so that sums of differences from it are exact in float64
TAIL = 3.0  # standard deviations of the other rows: where a cone's rows are first looked for
TURNS = 8  # of the line between two sides
TWO_CLOUDS = 4.0  # widths between their means; the halves of one normal distribution have 2.6
STEPS, ROUNDS = 4, 3  # in which the cut settles, and the axis


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes of narrow cones, from the rows' common mean on. mean: [128]. directions: of length 1, [A, 128].

    reach: how far along it the mean of its farthest rows lies, the farthest first, [A]. apart: the same, of
    each row along the axis of the others: of rows that lie there by chance, each pulled the axis to itself.
    """

    mean: Vectors
    directions: Vectors
    reach: Vectors
    apart: Vectors

    @property
    def first_stands_out(self) -> bool:
        return len(self.apart) > 1 and bool(self.apart[0] >= STANDS_OUT * self.apart[1:].max())

    def centres(self) -> list[Vectors]:
        """Where the cones' rows lie, [128] each."""
        return list(self.mean + self.reach[:, None] * self.directions)

    @property
    def has_common_way(self) -> bool:
        """Whether the rows' mean lies off the origin by more than chance: then all were moved its way."""
        return bool(row_lengths(self.mean[None])[0] >= COMMON_WAY)


def cone_axes(projections: Projections, sample: RowNumbers) -> Axes:
    """The axes on which rows of a sample lie farthest from their mean; none overlap, at most AXES.

    Sums of bfloat16 numbers are exact in float64 but for the smallest, so that no order of summation shows.
    """
    rows = _directions(projections, sample)
    mean: Vectors = np.round(np.add.reduce(rows, axis=0) / len(rows) * EXACT) / EXACT
    rows = rows - mean
    sums = rows[evenly(np.arange(len(rows)), ANCHORS)]
    for count in NEAREST:
        sums = _sums_of_farthest(sums, rows, count)
    reach = row_lengths(sums)
    directions = sums / np.where(reach > 0.0, reach, 1.0)[:, None]
    chosen: list[int] = []
    for index in np.argsort(-reach, kind="stable").tolist():
        if len(chosen) < AXES and (directions[chosen] @ directions[index] < ALIKE).all():
            chosen.append(index)
    apart = np.array([_apart(rows, directions[index]) for index in chosen])
    return Axes(mean, directions[chosen], reach[chosen] / min(NEAREST[-1], len(rows)), apart)


def centre_on_common_way(projections: Projections, sample: RowNumbers, mean: Vectors) -> Vectors:
    """Where the rows lie that went farthest along the way of all, on that way, [128]."""
    way = mean / row_lengths(mean[None])[0]
    along = np.sort(_directions(projections, sample) @ way)[-max(NEAREST) :]
    centre: Vectors = way * float(np.median(along))
    return centre


def rows_of_first(projections: Projections, active: RowNumbers, axes: Axes) -> RowNumbers:
    """The active rows of the cone around the first axis, ascending; few or none if it has no end."""
    along = _along(projections, active, axes.mean, axes.directions[0])
    for _ in range(ROUNDS):
        inside = _inside(along)
        if len(inside) < FEWEST:
            return active[inside]
        along = _along_their_axis(projections, active, axes.mean, evenly(inside, SAMPLE))
    return active[_inside(along)]


def two_sides(projections: Projections, active: RowNumbers, axes: Axes) -> RowNumbers | None:
    """The active rows on one side if they are two clouds of about one size; None if they are one.

    The line through both is sought as by two means: from the mean of one side to that of the other.
    """
    sample = evenly(active, SAMPLE)
    rows = _directions(projections, sample) - axes.mean
    axis = axes.directions[0]
    for _ in range(TURNS):
        is_inside = rows @ axis > 0.0
        if not FEWEST <= int(is_inside.sum()) <= len(rows) - FEWEST:
            return None
        axis = np.add.reduce(rows[is_inside], axis=0) / int(is_inside.sum()) - np.add.reduce(
            rows[~is_inside], axis=0
        ) / int((~is_inside).sum())
        axis = axis / row_lengths(axis[None])[0]
    along = rows @ axis
    inner, outer = along[along > 0.0], along[along <= 0.0]
    width = max(float(inner.std()), float(outer.std()))
    if float(inner.mean()) - float(outer.mean()) < TWO_CLOUDS * width:
        return None
    return active[_along(projections, active, axes.mean, axis) > 0.0]


def _sums_of_farthest(sums: Vectors, rows: Vectors, count: int) -> Vectors:
    """The sum of those of these rows [S, 128] that lie farthest along each of these vectors, [N, 128]."""
    along = sums @ rows.T
    count = min(count, len(rows))
    farthest = np.argpartition(-along, count - 1, axis=1)[:, :count]
    summed: Vectors = rows[farthest].sum(axis=1)
    return summed


def _apart(rows: Vectors, axis: Vectors) -> float:
    """How far those of these rows that lie farthest along an axis lie along that of the others: the mean."""
    count = min(NEAREST[-1], len(rows))
    farthest = rows[np.argpartition(-(rows @ axis), count - 1)[:count]]
    return float(np.mean(_along_that_of_others(farthest, farthest.sum(axis=0))))


def _along_that_of_others(rows: Vectors, total: Vectors) -> Vectors:
    """How far each of these rows lies along the sum of the others, [R]; 0 if that is none. total: of all."""
    others = total - rows
    lengths, along = row_lengths(others), np.zeros(len(rows))
    np.divide(np.add.reduce(others * rows, axis=1), lengths, out=along, where=lengths > 0)
    return along


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
    along[some] = _along_that_of_others(rows, total)
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
