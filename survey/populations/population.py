"""A population of rows around a centre, described beside the rows that it was compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import row_lengths
from survey.onepass.projection import FineRows
from survey.populations.dense_spots import NEIGHBOURS, SAMPLE, RowNumbers, Spots
from survey.populations.evenly import evenly
from survey.populations.valley import FEWEST

JUDGED = 32  # rows by whose neighbours the densities of a population and of the others are compared
# Denser than trained rows ever lie: rows with a fiftieth of the others' spread are 32 to 50 times as dense,
# planted numbers 4 to 5 times.
DENSEST = 24.0
NEARLY_ALL = 0.975  # of the rows: the others may be special tokens that are long
MAJORITY_FARTHER = 3.0  # if the population holds most rows: the few others may be the odd ones
OFF_CENTRE = 0.1  # of the median length: nearer lies a cloud around the origin with a block outside
FAR_CHANCES = 2.0  # times as long as the mean of as many rows around the origin is by chance


@dataclass(frozen=True, slots=True)
class Population:
    """Rows around a centre. rows: their numbers, ascending, [R]. others: of the rows compared with, [N].

    denser: how many times closer to each other than the others. farther: how many times farther from its
    centre the others lie, by medians. outside: how far its centre lies from the others', in units of the
    median distance of these from their centre. relative_length: its median norm divided by theirs.
    offset: how far its centre lies from the origin, in units of its rows' median distance from it.
    common: the cosine of its centre and the others'. along: how far its centre lies along the others', in
    units of it and of the relative length: 0 at the origin, 1 if it is the same cloud in a smaller scale.
    chance: by which `along` is off by chance; infinite if the others' centre is the origin but for chance.
    length_spread, others_spread: standard deviations of its rows' norms and of the others', divided by
    their means.
    """

    rows: RowNumbers
    others: RowNumbers
    denser: float
    farther: float
    outside: float
    relative_length: float
    offset: float
    common: float
    along: float
    chance: float
    length_spread: float
    others_spread: float

    @property
    def share(self) -> float:
        """Of the rows that it was compared with and its own."""
        return len(self.rows) / (len(self.rows) + len(self.others))

    @property
    def has_others_off_centre(self) -> bool:
        """Whether the others' centre is not the origin."""
        return bool(np.isfinite(self.chance))

    @property
    def is_undecided(self) -> bool:
        """Whether it holds most rows, and the others are too near or too few to tell which are odd."""
        few_others = self.share > NEARLY_ALL and self.denser < DENSEST
        return self.share > 0.5 and (self.farther < MAJORITY_FARTHER or few_others)


def described(spots: Spots, inner: RowNumbers, outer: RowNumbers, centre: NDArray[np.float64]) -> Population:
    """The population of the inner rows [R] around a centre [128], beside the outer ones, [N]."""
    projections = spots.projections
    near, far = (projections.subset(evenly(rows, SAMPLE)) for rows in (inner, outer))
    inner_median, outer_median = (float(np.median(rows.distances(centre))) for rows in (near, far))
    near_centre, far_centre = centre_of(near), centre_of(far)
    apart = _length(near_centre - far_centre)
    lengths = _length(near_centre) * _length(far_centre)
    relative_length = _ratio(float(np.median(near.lengths)), float(np.median(far.lengths)))
    common = float(np.add.reduce(near_centre * far_centre)) / lengths if lengths else 0.0
    return Population(
        rows=inner,
        others=outer,
        denser=_denser(spots, inner, outer),
        farther=_ratio(outer_median, inner_median),
        outside=_ratio(apart, float(np.median(far.distances(far_centre)))),
        relative_length=relative_length,
        offset=_ratio(_length(centre), inner_median),
        common=common,
        along=_ratio(common * _length(near_centre), relative_length * _length(far_centre)),
        chance=_chance(projections.dims, near, far, _length(far_centre)),
        length_spread=float(near.lengths.std() / near.lengths.mean()),
        others_spread=float(far.lengths.std() / far.lengths.mean()),
    )


def _chance(dims: int, near: FineRows, far: FineRows, far_length: float) -> float:
    """Standard deviation of `along` if the near rows lie around the origin."""
    offset = far_length / float(np.median(far.lengths))
    if offset < max(OFF_CENTRE, FAR_CHANCES / float(np.sqrt(len(far.lengths)))):
        return float("inf")
    return float(np.sqrt(1.0 / dims + 1.0 / far.directions.shape[1])) / (
        offset * float(np.sqrt(len(near.lengths)))
    )


def _denser(spots: Spots, inner: RowNumbers, outer: RowNumbers) -> float:
    """How many times closer the inner rows lie to each other than the outer ones, by the fourth nearest.

    Of the inner ones among themselves; of the outer ones also by their neighbours in the order of signs, so
    that small clusters among them count, of which a sample holds too few.
    """
    is_inner = np.zeros(len(spots.is_active), dtype=bool)
    is_inner[inner] = True
    sampled = spots.sample[is_inner[spots.sample]]
    peers = spots.projections.subset(sampled if len(sampled) >= 2 * FEWEST else evenly(inner, SAMPLE))
    judged = spots.projections.subset(evenly(inner, JUDGED)).vectors().astype(np.float64)
    near = [_fourth(peers.distances(row)) for row in judged]
    far = [spots.neighbour_distance(row) for row in evenly(outer, JUDGED).tolist()]
    return _ratio(float(np.median(far)), float(np.median(near)))


def _fourth(distances: NDArray[np.float32]) -> float:
    """The distance to the fourth nearest besides the row itself, which is one of them or nearly so."""
    index = min(NEIGHBOURS, len(distances) - 1)
    return float(np.partition(distances, index)[index])


def centre_of(rows: FineRows) -> NDArray[np.float64]:
    """The mean of [R, 128], summed in float64, [128]."""
    total = np.add.reduce(rows.vectors().astype(np.float64), axis=0)
    mean: NDArray[np.float64] = total / max(len(rows.lengths), 1)
    return mean


def _length(vector: NDArray[np.float64]) -> float:
    return float(row_lengths(vector[None])[0])


def _ratio(far: float, near: float) -> float:
    return far / near if near else float("inf")
