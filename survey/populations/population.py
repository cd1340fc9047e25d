"""A population of rows around a centre, described beside the rows that it was compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import row_lengths
from survey.onepass.projection import FineRows
from survey.populations.clouds import FINE_DIMS, Comparison, spread
from survey.populations.dense_spots import NEIGHBOURS, SAMPLE, RowNumbers, Spots
from survey.populations.evenly import evenly
from survey.populations.valley import FEWEST

JUDGED = 32  # rows by whose neighbours the densities of a population and of the others are compared
# Denser than trained rows ever lie: rows with a fiftieth of the others' spread are 32 to 50 times as dense,
# planted numbers 4 to 5 times.
DENSEST = 24.0
NEARLY_ALL = 0.975  # of the rows: the others may be special tokens that are long
MAJORITY = 0.55  # of the rows: half of them, and what a cut may misplace
MAJORITY_FARTHER = 3.0  # if the population holds most rows: the few others may be the odd ones
OFF_CENTRE = 0.1  # of the median length: nearer lies a cloud around the origin with a block outside
FAR_CHANCES = 2.0  # times as long as the mean of as many rows around the origin is by chance
FEW_OTHERS = 1 / 4  # of all rows: these may be words that are long
AT_ORIGIN = 0.25  # of a population's own median distance from its centre
GAUSSIAN = 1.25  # times the spread of lengths that independent numbers give, √(1 / 2D)
CERTAIN = 3.0  # standard errors
ALIKE = (
    4.0  # distances from the centre, that lies so far out: its rows' cosines are 0.94, those of words less
)


@dataclass(frozen=True, slots=True)
class Population:
    """Rows around a centre. rows: their numbers, ascending, [R]. others: of the rows compared with, [N].

    few_others: whether these are few of all rows. dims: D.
    denser: how many times closer to each other than the others. farther: how many times farther from its
    centre the others lie, by medians. outside: how far its centre lies from the others', in units of the
    median distance of these from their centre. relative_length: its median norm divided by theirs.
    offset: how far its centre lies from the origin, in units of its rows' median distance from it.
    common: the cosine of its centre and the others'. has_others_off_centre: whether theirs is not the origin.
    length_spread, others_spread: standard deviations of its rows' norms and of the others', divided by
    their means. comparison: of some of both.
    """

    rows: RowNumbers
    others: RowNumbers
    few_others: bool
    dims: int
    denser: float
    farther: float
    outside: float
    relative_length: float
    offset: float
    common: float
    has_others_off_centre: bool
    length_spread: float
    others_spread: float
    comparison: Comparison

    @property
    def share(self) -> float:
        """Of the rows that it was compared with and its own."""
        return len(self.rows) / (len(self.rows) + len(self.others))

    @property
    def is_scale(self) -> bool:
        """Whether it may be the others' cloud in a smaller scale: towards the origin, or where it is."""
        return self.comparison.is_around or self.comparison.is_scaled

    @property
    def _chance(self) -> float:
        """Twice that by which the rows' mean misses their centre, in units of their distance from it."""
        return 2.0 / float(np.sqrt(len(self.rows)))

    @property
    def is_at_origin(self) -> bool:
        return self.offset <= max(AT_ORIGIN, self._chance)

    @property
    def is_random(self) -> bool:
        """Whether its lengths vary as those of random numbers around the origin do."""
        varies = self.length_spread * float(np.sqrt(2 * self.dims))
        return self.is_at_origin and varies < GAUSSIAN + self._chance

    @property
    def is_initial(self) -> bool:
        """Whether its rows kept their initial values, and are no copy of the others in another scale."""
        return self.is_random and (not self.is_scale or self.comparison.has_far_alike)

    @property
    def is_middle(self) -> bool:
        """Whether it lies around the others' centre, off the origin, as random numbers, unlike them."""
        if not (self.comparison.is_around and self.comparison.has_own_directions):
            return False
        inner, outer = self.comparison.distance_spreads
        chance = 1.0 / float(np.sqrt(2 * len(self.rows)))
        limit = (GAUSSIAN + 2.0 * chance) / float(np.sqrt(2 * min(self.dims, FINE_DIMS)))
        if inner >= limit or self.comparison.is_near_in_groups:
            return False
        others_vary = outer - inner > CERTAIN * chance * float(np.hypot(inner, outer))
        return others_vary or self.comparison.is_far_in_groups

    @property
    def is_in_groups(self) -> bool:
        """Whether its rows or the others share directions as seen from their centres, as words do."""
        return self.comparison.is_near_in_groups or self.comparison.is_far_in_groups

    @property
    def is_kept(self) -> bool:
        """Whether its rows kept their initial values, moved the same way as all, if at all."""
        return self.is_initial or self.is_middle

    @property
    def may_be_kept(self) -> bool:
        """Whether that is so if some of its rows are others."""
        return self.is_at_origin or self.comparison.is_around

    @property
    def may_be_words(self) -> bool:
        """Whether it holds most rows, and these differ as words do, or the others may be longer words."""
        is_loose = self.share > MAJORITY and self.offset < ALIKE
        return not self.is_initial and (is_loose or (self.few_others and self.is_scale))

    @property
    def is_undecided(self) -> bool:
        """Whether it holds most rows, and the others are too near or too few to tell which are odd."""
        too_few = self.may_be_words or (self.share > NEARLY_ALL and self.denser < DENSEST)
        return self.share > MAJORITY and (self.farther < MAJORITY_FARTHER or too_few)


def described(spots: Spots, inner: RowNumbers, outer: RowNumbers, centre: NDArray[np.float64]) -> Population:
    """The population of the inner rows [R] around a centre [128], beside the outer ones, [N]."""
    projections = spots.projections
    near, far = (projections.subset(evenly(rows, SAMPLE)) for rows in (inner, outer))
    inner_median, outer_median = (float(np.median(rows.distances(centre))) for rows in (near, far))
    comparison = Comparison.of(near, far, projections.dims)
    near_centre, far_centre = comparison.near_mean.vector, comparison.far_mean.vector
    lengths = _length(near_centre) * _length(far_centre)
    return Population(
        rows=inner,
        others=outer,
        few_others=len(outer) < FEW_OTHERS * len(spots.order.numbers),
        dims=projections.dims,
        denser=_denser(spots, inner, outer),
        farther=_ratio(outer_median, inner_median),
        outside=_ratio(_length(near_centre - far_centre), float(np.median(far.distances(far_centre)))),
        relative_length=_ratio(float(np.median(near.lengths)), float(np.median(far.lengths))),
        offset=_ratio(_length(near_centre), inner_median),
        common=float(np.add.reduce(near_centre * far_centre)) / lengths if lengths else 0.0,
        has_others_off_centre=_is_off_centre(far, far_centre),
        length_spread=spread(near.lengths),
        others_spread=spread(far.lengths),
        comparison=comparison,
    )


def _is_off_centre(rows: FineRows, centre: NDArray[np.float64]) -> bool:
    """Whether the rows' centre is not the origin."""
    least = max(OFF_CENTRE, FAR_CHANCES / float(np.sqrt(len(rows.lengths))))
    return _length(centre) >= least * float(np.median(rows.lengths))


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
