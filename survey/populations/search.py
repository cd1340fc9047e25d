"""Populations of rows that lie closer together than the others: where rows may be that were never trained.

Rows that no gradient of their own ever reached were all moved by the same common gradients: they stay close
together while the others spread. So the densest spots of the matrix are tried, and the origin, around which
rows lie that kept their small initial values. If the rows' distances from such a centre fall into a near and
a far population with a valley between, and the near one is the denser by far, its rows are a population; they
are left out, and the search goes on among the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import row_lengths
from survey.onepass.projection import FineRows, Projections
from survey.populations.cones import cone_axes, rows_of_first
from survey.populations.dense_spots import NEIGHBOURS, SAMPLE, RowNumbers, SignOrder, Spots
from survey.populations.evenly import evenly
from survey.populations.valley import FEWEST, SIGMAS, valley_or_void

MOST_POPULATIONS = 8
LEAST_ROWS = 32  # fewer distinct rows are no two populations
LEAST_DIMS = 4  # in fewer, chance leaves rows close together
MOST_SPOTS = 8  # the densest first
TRIED = 1.25  # times the radius of a spot's eight rows: within it no other is tried, if nothing divides
SCOUT_SIGMAS = 3.5  # of a sample: then all rows are looked at
# Voids behind rows around the centre of eight of them, to which these lie too near, and around their own.
CORE_VOID, NARROW_VOID = 1.12, 1.2
JUDGED = 32  # rows by whose neighbours the densities of a population and of the others are compared
FARTHER = 1.75  # times as far from the centre as the population's rows: the other rows; rare words may be 1.5
# Times closer to each other than the other rows are to each other: 0.6 times as much as the others are
# farther from the centre, at least 1.2 and at most 2. Clusters of trained rows lie apart, but are no denser.
LEAST_DENSER, DENSER_OF_FARTHER, MOST_DENSER = 1.2, 0.6, 2.0
FEW_ROWS, FEW_DENSER = 64, 1.3  # so few rows must be so much denser: clusters of some rows are, by chance
MAJORITY_FARTHER = 3.0  # if the population holds most rows: the few others may be the odd ones
CONE_FARTHER = 1.3  # as FARTHER among rows of one length, of which none are nearer because they are short
ONE_LENGTH = 0.003  # standard deviation of lengths, divided by their mean: less is rounding, at any D
SNAP = 0.5  # of the rows' distances from their centre: then the origin is better, as norms are exact


@dataclass(frozen=True, slots=True)
class Population:
    """Rows around a centre. rows: their numbers, ascending, [R]. others: of the rows compared with, [N].

    denser: how many times closer to each other than the others. farther: how many times farther from its
    centre the others lie, by medians. outside: how far its centre lies from the others', in units of the
    median distance of these from their centre. relative_length: its median norm divided by theirs.
    offset: how far its centre lies from the origin, in units of its rows' median distance from it.
    common: the cosine of its centre and the others'.
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
    length_spread: float
    others_spread: float

    @property
    def share(self) -> float:
        """Of the rows that it was compared with and its own."""
        return len(self.rows) / (len(self.rows) + len(self.others))

    @property
    def is_undecided(self) -> bool:
        """Whether it holds most rows, too little apart from the few others to tell which are odd."""
        return self.share > 0.5 and self.farther < MAJORITY_FARTHER


def populations(projections: Projections) -> list[Population] | None:
    """The populations in the order in which they were found; None if there are too few rows or dimensions."""
    active = projections.distinct
    if len(active) < LEAST_ROWS or projections.dims < LEAST_DIMS:
        return None
    order = SignOrder.of(projections, active)
    result: list[Population] = []
    while len(active) >= LEAST_ROWS and len(result) < MOST_POPULATIONS:
        population = _next_population(Spots(projections, order, active))
        if population is None:
            break
        result.append(population)
        if population.is_undecided:
            break
        active = np.setdiff1d(active, population.rows, assume_unique=True)
    return result


def _next_population(spots: Spots) -> Population | None:
    """The first population, starting from the densest spot; the origin is tried last."""
    undecided: Population | None = None
    for centre in _centres(spots):
        population = _around(spots, centre)
        if population is None or not _is_apart(population):
            continue
        if not population.is_undecided:
            return population
        undecided = undecided or population
    return undecided or _lone_cone(spots)


def _lone_cone(spots: Spots) -> Population | None:
    """Among rows of one length, those of a cone that stands out, or else of the only one behind a valley.

    Several are clusters of trained rows.
    """
    lengths = spots.fine_sample.lengths
    if lengths.std() >= ONE_LENGTH * lengths.mean():
        return None
    axes = cone_axes(spots.projections, spots.sample)
    if axes.first_stands_out:
        inner = rows_of_first(spots.projections, spots.active, axes)
        outer = np.setdiff1d(spots.active, inner, assume_unique=True)
        lone = _with_centre_of_inner(spots, inner, outer)
    else:
        lone = _only_one(_around(spots, centre) for centre in axes.centres())
    return lone if lone and lone.share <= 0.5 and lone.farther >= CONE_FARTHER else None


def _with_centre_of_inner(spots: Spots, inner: RowNumbers, outer: RowNumbers) -> Population | None:
    """The inner rows as a population around their own centre; None if they or the outer ones are too few."""
    if len(inner) < FEWEST or len(outer) < FEWEST:
        return None
    centre = centre_of(spots.projections.subset(evenly(inner, SAMPLE)))
    return _described(spots, inner, outer, centre)


def _only_one(cones: Iterable[Population | None]) -> Population | None:
    """The first of these if the others have half of their rows in common with it, too."""
    first: Population | None = None
    for cone in cones:
        if cone is not None and first is not None and not _is_same(cone, first):
            return None
        first = first or cone
    return first


def _is_same(one: Population, other: Population) -> bool:
    """Whether they share half of the rows of the smaller."""
    common = len(np.intersect1d(one.rows, other.rows, assume_unique=True))
    return 2 * common >= min(len(one.rows), len(other.rows))


def _around(spots: Spots, centre: NDArray[np.float64]) -> Population | None:
    """The population around a centre [128], described; None without one."""
    inner, outer, centre = _divided(spots, centre)
    if len(inner) < FEWEST or len(outer) < FEWEST:
        return None
    return _described(spots, inner, outer, centre)


def _centres(spots: Spots) -> Iterator[NDArray[np.float64]]:
    """Centres [128] around which the scouts fall into two populations, or may."""
    scouts, rows = spots.scouts
    rejected = np.zeros(len(spots.is_active), dtype=bool)
    tried = 0
    for anchor, core in spots.densest_first():
        if tried == MOST_SPOTS:
            break
        if rejected[anchor]:
            continue
        tried += 1
        centre = centre_of(spots.projections.subset(core))
        distances = rows.distances(centre)
        divided = valley_or_void(distances, SCOUT_SIGMAS, CORE_VOID)
        if divided is not None:
            yield centre
        reach = (
            divided[0] if divided else TRIED * float(spots.projections.subset(core).distances(centre).max())
        )
        rejected[scouts[distances <= reach]] = True
        rejected[core] = True
    yield np.zeros(rows.directions.shape[1])


def _divided(spots: Spots, centre: NDArray[np.float64]) -> tuple[RowNumbers, RowNumbers, NDArray[np.float64]]:
    """The active rows near a centre, those far from it, and the near ones' own centre.

    No row is near if nothing divides them.
    """
    active, nothing = spots.active, (spots.active[:0], spots.active, centre)
    distances = spots.distances(centre)
    divided = valley_or_void(distances, SIGMAS, CORE_VOID if centre.any() else None)
    if divided is None:
        return nothing
    if centre.any():  # once more, from the centre of all rows within the cut
        centre = centre_of(spots.projections.subset(evenly(active[distances < divided[0]], SAMPLE)))
        distances = spots.distances(centre)
        divided = valley_or_void(distances, SIGMAS, NARROW_VOID)
        if divided is None:
            return nothing
        if _length(centre) < SNAP * float(np.median(distances[distances < divided[0]])):
            from_origin = spots.distances(np.zeros_like(centre))
            by_norm = valley_or_void(from_origin)
            if by_norm is not None and by_norm[1] >= divided[1]:
                distances, divided, centre = from_origin, by_norm, np.zeros_like(centre)
    near = distances < divided[0]
    return active[near], active[~near], centre


def _described(spots: Spots, inner: RowNumbers, outer: RowNumbers, centre: NDArray[np.float64]) -> Population:
    projections = spots.projections
    near, far = (projections.subset(evenly(rows, SAMPLE)) for rows in (inner, outer))
    inner_median, outer_median = (float(np.median(rows.distances(centre))) for rows in (near, far))
    near_centre, far_centre = centre_of(near), centre_of(far)
    apart = _length(near_centre - far_centre)
    lengths = _length(near_centre) * _length(far_centre)
    return Population(
        rows=inner,
        others=outer,
        denser=_denser(spots, inner, outer),
        farther=_ratio(outer_median, inner_median),
        outside=_ratio(apart, float(np.median(far.distances(far_centre)))),
        relative_length=_ratio(float(np.median(near.lengths)), float(np.median(far.lengths))),
        offset=_ratio(_length(centre), inner_median),
        common=float(np.add.reduce(near_centre * far_centre)) / lengths if lengths else 0.0,
        length_spread=float(near.lengths.std() / near.lengths.mean()),
        others_spread=float(far.lengths.std() / far.lengths.mean()),
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


def _is_apart(population: Population) -> bool:
    least = FEW_DENSER if len(population.rows) < FEW_ROWS else LEAST_DENSER
    denser = min(max(least, DENSER_OF_FARTHER * population.farther), MOST_DENSER)
    return population.farther >= FARTHER and population.denser >= denser


def centre_of(rows: FineRows) -> NDArray[np.float64]:
    """The mean of [R, 128], summed in float64, [128]."""
    total = np.add.reduce(rows.vectors().astype(np.float64), axis=0)
    mean: NDArray[np.float64] = total / max(len(rows.lengths), 1)
    return mean


def _length(vector: NDArray[np.float64]) -> float:
    return float(row_lengths(vector[None])[0])


def _ratio(far: float, near: float) -> float:
    return far / near if near else float("inf")
