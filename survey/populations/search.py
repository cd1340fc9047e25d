"""Populations of rows that lie closer together than the others: where rows may be that were never trained.

Rows that no gradient of their own ever reached were all moved by the same common gradients: they stay close
together while the others spread. So the densest spots of the matrix are tried, and the origin, around which
rows lie that kept their small initial values. If the rows' distances from such a centre fall into a near and
a far population with a valley between, and the near one is the denser by far, its rows are a population; they
are left out, and the search goes on among the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import row_lengths
from survey.onepass.projection import Projections
from survey.populations.cones import centre_on_common_way, cone_axes, rows_of_first
from survey.populations.dense_spots import SAMPLE, RowNumbers, SignOrder, Spots
from survey.populations.evenly import evenly
from survey.populations.population import Population, centre_of, described
from survey.populations.valley import FEWEST, SIGMAS, valley_or_void

MOST_POPULATIONS = 8
LEAST_ROWS = 32  # fewer distinct rows are no two populations
LEAST_DIMS = 4  # in fewer, chance leaves rows close together
MOST_SPOTS = 8  # the densest first
TRIED = 1.25  # times the radius of a spot's eight rows: within it no other is tried, if nothing divides
SCOUT_SIGMAS = 3.5  # of a sample: then all rows are looked at
# Voids behind rows around the centre of eight of them, to which these lie too near, and around their own.
CORE_VOID, NARROW_VOID = 1.12, 1.2
FARTHER = 1.75  # times as far from the centre as the population's rows: the other rows; rare words may be 1.5
# Times closer to each other than the other rows are to each other: 0.6 times as much as the others are
# farther from the centre, at least 1.2 and at most 2. Clusters of trained rows lie apart, but are no denser.
LEAST_DENSER, DENSER_OF_FARTHER, MOST_DENSER = 1.2, 0.6, 2.0
FEW_ROWS, FEW_DENSER = 64, 1.3  # so few rows must be so much denser: clusters of some rows are, by chance
SAME_WAY = 0.7  # cosine of a cone on the rows' mean and of the others: else this cone makes the mean
CONE_FARTHER = 1.3  # as FARTHER among rows of one length, of which none are nearer because they are short
ONE_LENGTH = 0.003  # standard deviation of lengths, divided by their mean: less is rounding, at any D
SNAP = 0.5  # of the rows' distances from their centre: then the origin is better, as norms are exact


def populations(projections: Projections) -> list[Population] | None:
    """The populations in the order in which they were found; None if there are too few rows or dimensions.

    None as well if the lengths of most rows are beyond float64: then no row is longer than another.
    """
    active = projections.distinct
    if len(active) < LEAST_ROWS or projections.dims < LEAST_DIMS:
        return None
    if not np.isfinite(projections.lengths[active]).all():
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
    if axes.has_common_way:
        lone = _around(spots, centre_on_common_way(spots.projections, spots.sample, axes.mean))
        if _is_lone(lone) and lone.common >= SAME_WAY:
            return lone
    if axes.first_stands_out:
        inner = rows_of_first(spots.projections, spots.active, axes)
        outer = np.setdiff1d(spots.active, inner, assume_unique=True)
        lone = _with_centre_of_inner(spots, inner, outer)
    else:
        lone = _only_one(_around(spots, centre) for centre in axes.centres())
    return lone if _is_lone(lone) else None


def _is_lone(cone: Population | None) -> TypeGuard[Population]:
    return cone is not None and cone.share <= 0.5 and cone.farther >= CONE_FARTHER


def _with_centre_of_inner(spots: Spots, inner: RowNumbers, outer: RowNumbers) -> Population | None:
    """The inner rows as a population around their own centre; None if they or the outer ones are too few."""
    if len(inner) < FEWEST or len(outer) < FEWEST:
        return None
    centre = centre_of(spots.projections.subset(evenly(inner, SAMPLE)))
    return described(spots, inner, outer, centre)


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
    return described(spots, inner, outer, centre)


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
        if float(row_lengths(centre[None])[0]) < SNAP * float(np.median(distances[distances < divided[0]])):
            from_origin = spots.distances(np.zeros_like(centre))
            by_norm = valley_or_void(from_origin)
            if by_norm is not None and by_norm[1] >= divided[1]:
                distances, divided, centre = from_origin, by_norm, np.zeros_like(centre)
    near = distances < divided[0]
    return active[near], active[~near], centre


def _is_apart(population: Population) -> bool:
    least = FEW_DENSER if len(population.rows) < FEW_ROWS else LEAST_DENSER
    denser = min(max(least, DENSER_OF_FARTHER * population.farther), MOST_DENSER)
    return population.farther >= FARTHER and population.denser >= denser
