"""Candidates for rows that were never trained: populations of rows that lie close together.

Every population is described, and most are candidates. But trained rows may lie close together, too: a
thousand numbers, say. Such a block lies outside, as far from the other rows' mean as these do themselves, and
its rows are no shorter; rows that only common gradients moved stay nearer to the middle, or shorter. So a
population outside is a candidate only if it is too large for a block of alike words, or if the tokenizer
names at least half of it as nothing that a text holds: as phantom or special. Several that lie far out are
clusters of trained rows, languages say, or rows that were never met: that cannot be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import finite_or_none, mean_and_std
from survey.onepass.projection import Projections, RowFlags
from survey.onepass.result import PassResult
from survey.populations.search import LEAST_DIMS, LEAST_ROWS, MAJORITY_FARTHER, Population, populations
from survey.records.measured_columns import Measurement, Undertrained, UndertrainedPopulation
from survey.records.tokenizer import TokenColumns

OUTSIDE = 0.9  # of the other rows' median distance from their centre: as far as these lie
NO_SHORTER = 0.8  # of the other rows' median norm
LARGE, LARGE_ROWS = 1 / 8, 320  # of all rows, and more than 256 bytes: no block of alike words is so large
FAR_OUT, NOT_SHORT = 0.7, 0.5  # as OUTSIDE and NO_SHORTER: two populations like that are clusters
RESERVED = 0.5  # of a population's rows: then they are no words

TOO_FEW = (
    f"fewer than {LEAST_ROWS} different rows that are finite and not almost zero, or fewer than {LEAST_DIMS} "
    "dimensions: whether some lie apart cannot be told"
)
CLUSTERS = (
    "several populations lie far from the other rows' centre: whether they are clusters of trained rows or "
    "were never trained cannot be told"
)
UNDECIDED = "most rows lie closer together than the few others: which of them were trained cannot be told"


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
    reserved = names.is_special if names.phantom is None else names.phantom | names.is_special
    counts = np.bincount(population, minlength=len(columns.undertrained_populations) + 1)
    reserved_counts = np.bincount(population[reserved], minlength=len(counts))
    return _columns(
        tuple(
            replace(item, reserved_share=int(reserved_counts[number]) / int(counts[number]))
            for number, item in enumerate(columns.undertrained_populations, 1)
        )
    )


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
        compared_share=item.share,
        reserved_share=None,
        candidate=None,  # until all are judged together
    )


def _judged(described: Sequence[UndertrainedPopulation]) -> tuple[UndertrainedPopulation, ...]:
    """Whether the rows of each count as undertrained; None if that cannot be told."""
    in_clusters = (
        sum(_is_far_out(item, FAR_OUT, NOT_SHORT) and not _is_reserved(item) for item in described) > 1
    )
    return tuple(replace(item, candidate=_is_candidate(item, in_clusters)) for item in described)


def _is_candidate(item: UndertrainedPopulation, in_clusters: bool) -> bool | None:
    """in_clusters: whether several populations lie far out."""
    if _is_reserved(item):
        return True
    if _is_undecided_majority(item):
        return None
    is_large = item.compared_share >= LARGE and item.rows >= LARGE_ROWS
    if _is_far_out(item, OUTSIDE, NO_SHORTER) and not is_large:
        return False
    return None if in_clusters and _is_far_out(item, FAR_OUT, NOT_SHORT) else True


def _is_reserved(item: UndertrainedPopulation) -> bool:
    return item.reserved_share is not None and item.reserved_share >= RESERVED


def _is_undecided_majority(item: UndertrainedPopulation) -> bool:
    """As `Population.is_undecided`."""
    return item.compared_share > 0.5 and item.contrast is not None and item.contrast < MAJORITY_FARTHER


def _is_far_out(item: UndertrainedPopulation, distance: float, length: float) -> bool:
    return (item.centre_distance or 0.0) >= distance and (item.relative_norm or 0.0) >= length


def _columns(described: tuple[UndertrainedPopulation, ...] | None, note: str | None = None) -> Undertrained:
    if described is None:
        return Undertrained(**dict.fromkeys(Undertrained.__dataclass_fields__) | {"undertrained_note": note})
    described = _judged(described)
    candidates = [item for item in described if item.candidate]
    undecided = any(item.candidate is None for item in described)
    return Undertrained(
        undertrained_rows=None if undecided else sum(item.rows for item in candidates),
        undertrained_contrast=candidates[0].contrast if candidates and not undecided else None,
        undertrained_populations=described,
        undertrained_note=_undecided_note(described) if undecided else _remark(described),
    )


def _undecided_note(described: Sequence[UndertrainedPopulation]) -> str:
    majority = any(item.candidate is None and _is_undecided_majority(item) for item in described)
    return UNDECIDED if majority else CLUSTERS


def _remark(described: Sequence[UndertrainedPopulation]) -> str | None:
    left_out = sum(item.rows for item in described if item.candidate is False)
    if left_out == 0:
        return None
    return (
        f"{left_out} rows lie close together, but outside and no shorter than the others, as trained rows "
        "do: they are not counted"
    )
