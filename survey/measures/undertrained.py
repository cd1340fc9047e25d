"""Candidates for rows that were never trained: populations of rows that lie close together.

Every population is described here; which of them count is judged by `survey.measures.candidates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from survey.measures.candidates import judged, remark, undecided_note
from survey.numerics.vectors import finite_or_none, mean_and_std
from survey.onepass.projection import Projections, RowFlags
from survey.onepass.result import PassResult
from survey.populations.population import Population
from survey.populations.search import LEAST_DIMS, LEAST_ROWS, ONE_LENGTH, populations
from survey.records.measured_columns import (
    Measurement,
    PopulationShape,
    Undertrained,
    UndertrainedPopulation,
)
from survey.records.tokenizer import TokenColumns

TOO_FEW = (
    f"fewer than {LEAST_ROWS} different rows that are finite and not almost zero, or fewer than {LEAST_DIMS} "
    "dimensions: whether some lie apart cannot be told"
)
# Cosine of the centres of a cone and of the others: all were moved the same way. By chance it is 1 / √D, and
# never less than the 1 / √128 of the fine directions: of 40 planted cones in 64 dimensions 39 have 0.27 or
# more, in 256 all have 0.39; groups of trained words in random directions less.
COMMON, CHANCES = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Undertraining:
    """The columns, and for each row the number of its population, from 1; 0 if it is in none, [V]."""

    columns: Undertrained
    population: NDArray[np.int32]

    @property
    def flags(self) -> RowFlags | None:
        """Rows of candidates, [V]; None if the data cannot tell."""
        return flags_of(self.columns, self.population)


def flags_of(columns: Undertrained, population: NDArray[np.int32]) -> RowFlags | None:
    """Rows of candidates, [V]; None if the data cannot tell. population: number of each row's, [V]."""
    if columns.undertrained_rows is None:
        return None
    candidates = [
        number
        for number, described in enumerate(columns.undertrained_populations or (), 1)
        if described.candidate
    ]
    flags: RowFlags = np.isin(population, candidates)
    return flags


def undertraining(result: PassResult, searched: Sequence[Population] | None) -> Undertraining:
    """The populations, the largest first. searched: from `undertrained_populations`."""
    population = np.zeros(result.vocab_rows, dtype=np.int32)
    if searched is None:
        return Undertraining(_columns(None, TOO_FEW), population)
    first_of = np.arange(result.vocab_rows)
    for rows in result.black_hole_rows:
        first_of[rows] = rows[0]
    members = [np.flatnonzero(np.isin(first_of, item.rows)) for item in searched]
    order = sorted(range(len(searched)), key=lambda index: (-len(members[index]), int(members[index][0])))
    for number, index in enumerate(order, 1):
        population[members[index]] = number
    described = tuple(_described(result, searched[index], members[index]) for index in order)
    return Undertraining(_columns(described), population)


def with_names(columns: Undertrained, population: NDArray[np.int32], names: TokenColumns) -> Undertrained:
    """The columns once the tokens' names are known. population: number of each row's, [V]."""
    if columns.undertrained_populations is None:
        return columns
    reserved = names.is_special | np.array([reach == "unreachable" for reach in names.reach], dtype=bool)
    if names.phantom is not None:
        reserved |= names.phantom
    counts = np.bincount(population, minlength=len(columns.undertrained_populations) + 1)
    reserved_counts = np.bincount(population[reserved], minlength=len(counts))
    return _columns(
        tuple(
            replace(item, reserved_share=int(reserved_counts[number]) / int(counts[number]))
            for number, item in enumerate(columns.undertrained_populations, 1)
        )
    )


def without_names(columns: Undertrained) -> Undertrained:
    """The columns as they are without a tokenizer."""
    if columns.undertrained_populations is None:
        return columns
    return _columns(tuple(replace(item, reserved_share=None) for item in columns.undertrained_populations))


def with_reserved(measurement: Measurement, names: TokenColumns | None) -> Measurement:
    """The measurement with what the names say of its populations, and with the flags that follow."""
    population = measurement.tokens.population
    if names is None or population is None:
        return measurement
    given = {name: getattr(measurement, name) for name in Undertrained.__dataclass_fields__}
    columns = with_names(Undertrained(**given), population, names)
    tokens = replace(measurement.tokens, undertrained=flags_of(columns, population))
    return replace(measurement, **vars(columns), tokens=tokens)


def undertrained_populations(projections: Projections) -> list[Population] | None:
    """The search; it takes as long as all measures together."""
    return populations(projections)


def _described(result: PassResult, item: Population, members: NDArray[np.int64]) -> UndertrainedPopulation:
    norm_mean, _ = mean_and_std(result.norms[members])
    return UndertrainedPopulation(
        rows=len(members),
        norm_mean=norm_mean,
        relative_norm=finite_or_none(item.relative_length),
        contrast=finite_or_none(item.farther),
        centre_distance=finite_or_none(item.outside),
        density=finite_or_none(item.denser),
        shape=_shape(item, result.hidden_dim),
        compared_share=item.share,
        reserved_share=None,
        candidate=None,  # until all are judged together
    )


def _shape(item: Population, dims: int) -> PopulationShape:
    """dims: D."""
    if item.may_be_words:
        return "most"
    if max(item.length_spread, item.others_spread, abs(item.relative_length - 1.0)) < ONE_LENGTH:
        is_moved_with_all = item.common >= max(COMMON, CHANCES / float(np.sqrt(dims)))
        is_lone = is_moved_with_all or not item.has_others_off_centre
        return "cone" if is_lone and not item.is_in_groups else "centre"
    if item.is_initial:
        return "initial values"
    if item.is_middle:
        return "middle"
    if item.is_scale:
        return "scale"
    return "origin" if item.is_at_origin else "centre"


def _columns(described: tuple[UndertrainedPopulation, ...] | None, note: str | None = None) -> Undertrained:
    if described is None:
        return Undertrained(**dict.fromkeys(Undertrained.__dataclass_fields__) | {"undertrained_note": note})
    described = judged(described)
    candidates = [item for item in described if item.candidate]
    why_unknown = undecided_note(described)
    return Undertrained(
        undertrained_rows=None if why_unknown else sum(item.rows for item in candidates),
        undertrained_contrast=candidates[0].contrast if candidates and not why_unknown else None,
        undertrained_populations=described,
        undertrained_note=why_unknown or remark(described),
    )
