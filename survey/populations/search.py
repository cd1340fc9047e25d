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
from survey.onepass.projection import Projections, RowFlags
from survey.populations.cones import Axes, centre_on_common_way, cone_axes, rows_of_first, two_sides
from survey.populations.dense_spots import SAMPLE, RowNumbers, SignOrder, Spots
from survey.populations.evenly import evenly
from survey.populations.overlap import unbiased_cut
from survey.populations.population import MAJORITY, Population, centre_of, described
from survey.populations.valley import FEWEST, SIGMAS, valley_or_void

MOST_POPULATIONS = 8
LEAST_ROWS = 32  # fewer distinct rows are no two populations
LEAST_DIMS = 4  # in fewer, chance leaves rows close together
MOST_SPOTS = 8  # the densest first
TRIED = 1.25  # times the radius of a spot's eight rows: within it no other is tried, if nothing divides
SHALLOW_SIGMAS = 3.0  # of a valley, if what lies before it is told by other signs, too
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
FITTED = 0.75  # of the rows before a valley: a cut that takes more away divides the population itself
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
        if population is None or not (_is_apart(population) or _is_kept(population)):
            continue
        if not population.is_undecided:
            return population
        undecided = undecided or population
    return _kept_from_the_start(spots) or undecided or _lone_cone(spots)


def _kept_from_the_start(spots: Spots) -> Population | None:
    """Rows of initial values, around the origin or around the mean of all rows.

    Around the origin a shallow valley is enough, as it counts only if the rows' lengths and directions are
    those of chance; around the mean the shortest of rows that vary in length look the same.
    """
    mean = centre_of(spots.fine_sample)
    for centre, sigmas in ((np.zeros_like(mean), SHALLOW_SIGMAS), (mean, SIGMAS)):
        if valley_or_void(spots.scouts[1].distances(centre), min(sigmas, SCOUT_SIGMAS)) is None:
            continue
        population = _around(spots, centre, sigmas)
        if population is not None and _is_kept(population):
            return population
    return None


def _is_kept(population: Population) -> bool:
    """Whether it holds initial values: clusters of trained rows may be denser than these."""
    return population.farther >= FARTHER and population.is_kept


def _lone_cone(spots: Spots) -> Population | None:
    """Among rows of one length, those of a cone that stands out, or else of the only one behind a valley.

    Several are clusters of trained rows.
    """
    lengths = spots.fine_sample.lengths
    if lengths.std() >= ONE_LENGTH * lengths.mean():
        return None
    axes = cone_axes(spots.projections, spots.sample)
    if axes.has_common_way:
        centre = centre_on_common_way(spots.projections, spots.sample, axes.mean)
        lone = _around(spots, centre, SCOUT_SIGMAS)
        if _is_lone(lone) and lone.common >= SAME_WAY and not lone.is_in_groups:
            return lone
    if axes.first_stands_out:
        inner = rows_of_first(spots.projections, spots.active, axes)
        outer = np.setdiff1d(spots.active, inner, assume_unique=True)
        lone = _with_centre_of_inner(spots, inner, outer)
    else:
        lone = _only_one(_around(spots, centre) for centre in axes.centres())
    return lone if _is_lone(lone) else _half(spots, axes)


def _half(spots: Spots, axes: Axes) -> Population | None:
    """The narrower of two clouds of about half of the rows each."""
    one = two_sides(spots.projections, spots.active, axes)
    if one is None:
        return None
    other = np.setdiff1d(spots.active, one, assume_unique=True)
    for inner, outer in ((one, other), (other, one)):
        cone = _with_centre_of_inner(spots, inner, outer)
        if _is_lone(cone) and not cone.is_in_groups:
            return cone
    return None


def _is_lone(cone: Population | None) -> TypeGuard[Population]:
    return cone is not None and cone.share <= MAJORITY and cone.farther >= CONE_FARTHER


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


def _around(spots: Spots, centre: NDArray[np.float64], sigmas: float = SIGMAS) -> Population | None:
    """The population around a centre [128], described; None without one."""
    divided = _divided(spots, centre, sigmas)
    if divided is None:
        return None
    distances, cut, centre = divided
    population = _within(spots, distances < cut, centre)
    if population is None or population.farther < FARTHER or not population.may_be_kept:
        return population
    fitted = _within(spots, distances < unbiased_cut(distances, cut, spots.projections.dims), centre)
    if fitted is None or len(fitted.rows) < FITTED * len(population.rows):
        return population
    return fitted if fitted.is_kept else population


def _within(spots: Spots, near: RowFlags, centre: NDArray[np.float64]) -> Population | None:
    """near: which of the active rows are, [N]."""
    inner, outer = spots.active[near], spots.active[~near]
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


def _divided(
    spots: Spots, centre: NDArray[np.float64], sigmas: float
) -> tuple[NDArray[np.float32], float, NDArray[np.float64]] | None:
    """The active rows' distances [N] from the near ones' centre, what divides them, and that centre.

    None if nothing divides them. The centre is the origin if that is better.
    """
    active, distances = spots.active, spots.distances(centre)
    divided = valley_or_void(distances, sigmas, CORE_VOID if centre.any() else None)
    if divided is None:
        return None
    if centre.any():  # once more, from the centre of all rows within the cut
        centre = centre_of(spots.projections.subset(evenly(active[distances < divided[0]], SAMPLE)))
        distances = spots.distances(centre)
        divided = valley_or_void(distances, sigmas, NARROW_VOID)
        if divided is None:
            return None
        if float(row_lengths(centre[None])[0]) < SNAP * float(np.median(distances[distances < divided[0]])):
            from_origin = spots.distances(np.zeros_like(centre))
            by_norm = valley_or_void(from_origin, sigmas)
            if by_norm is not None and by_norm[1] >= divided[1]:
                distances, divided, centre = from_origin, by_norm, np.zeros_like(centre)
    return distances, divided[0], centre


def _is_apart(population: Population) -> bool:
    least = FEW_DENSER if len(population.rows) < FEW_ROWS else LEAST_DENSER
    denser = min(max(least, DENSER_OF_FARTHER * population.farther), MOST_DENSER)
    return population.farther >= FARTHER and population.denser >= denser
