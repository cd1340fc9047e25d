"""Histograms of single models: row norms in medians, and biased exponents, dead against live."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from catalog.read.reader import Reader, key_lists

NORM_BARS, NORM_STEP = 40, 0.05  # and one bar more, for all rows beyond two medians
BLOCKS = "▁▂▃▄▅▆▇█"
# repos, shas, matrices: of each model. Models without a per-token table have no rows here.
_NORMS = """
-- tokens of: from each_key($repos, $shas, $matrices)
select
    repo, sha, matrix, count(*) as count,
    least(greatest(floor(norm / token_norm_median / $step), 0), $bars)::int as bar
from tokens
join (
    select repo, sha, matrix, token_norm_median
    from models_history
    semi join each_key($repos, $shas, $matrices) using (repo, sha, matrix)
) using (repo, sha, matrix)
where token_norm_median > 0 and norm is not null
group by all
"""
_EXPONENTS = """
select repo, sha, matrix, exponent, dead_count, live_count
from exponents
semi join each_key($repos, $shas, $matrices) using (repo, sha, matrix)
"""

ModelKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class NormBar:
    """One bar of a norm histogram. norm, end: its edges, in medians. count: rows."""

    norm: float
    end: float
    count: int


@dataclass(frozen=True, slots=True)
class ExponentShare:
    """One bar of an exponent histogram. rows: dead or live. share: of the elements of these rows."""

    exponent: int
    rows: str
    share: float
    count: int


@dataclass(frozen=True, slots=True)
class ExponentCounts:
    """Elements of dead and of live rows with each biased exponent, from the exponent `first` on."""

    first: int
    dead: Sequence[int]
    live: Sequence[int]

    def sides(self) -> Mapping[str, Sequence[int]]:
        """The counts under the names that charts show."""
        return {"dead": self.dead, "live": self.live}

    def shares(self) -> list[ExponentShare]:
        """The bars of the histogram; none of a side without elements."""
        return [
            ExponentShare(exponent, rows, count / total, count)
            for rows, counts in self.sides().items()
            if (total := sum(counts))
            for exponent, count in enumerate(counts, self.first)
        ]


@dataclass(frozen=True, slots=True)
class Histograms:
    """Histograms of one matrix; None if there is nothing to count, such as no per-token table.

    norms: rows in each bar of `NORM_STEP` medians; the last bar holds all rows beyond the others.
    """

    norms: Sequence[int] | None = None
    exponents: ExponentCounts | None = None


def histograms(reader: Reader, keys: Sequence[ModelKey]) -> dict[ModelKey, Histograms]:
    """The histograms of these models, by repo, sha and matrix. Raises UsageError if they cannot be read."""
    if not keys:
        return {}
    listed = key_lists(keys)
    norms = _norm_counts(reader.ask(_NORMS, {**listed, "step": NORM_STEP, "bars": NORM_BARS}).rows)
    exponents = _exponent_counts(reader.ask(_EXPONENTS, listed).rows)
    return {key: Histograms(norms.get(key), exponents.get(key)) for key in keys}


def norm_bars(counts: Sequence[int]) -> list[NormBar]:
    """The bars of a norm histogram for a chart."""
    return [
        NormBar(round(index * NORM_STEP, 6), round((index + 1) * NORM_STEP, 6), count)
        for index, count in enumerate(counts)
    ]


def sparkline(counts: Sequence[int]) -> str:
    """One character for each count, its height by the logarithm; a space for a count of zero."""
    top = math.log1p(max(counts, default=0))
    return "".join(
        BLOCKS[min(int(math.log1p(count) / top * len(BLOCKS)), len(BLOCKS) - 1)] if count else " "
        for count in counts
    )


def _norm_counts(rows: Iterable[tuple[str, str, str, int, int]]) -> dict[ModelKey, list[int]]:
    counts: dict[ModelKey, list[int]] = {}
    for repo, sha, matrix, count, bar in rows:
        counts.setdefault((repo, sha, matrix), [0] * (NORM_BARS + 1))[bar] = count
    return counts


def _exponent_counts(
    rows: Iterable[tuple[str, str, str, int, int, int]],
) -> dict[ModelKey, ExponentCounts]:
    by_model: dict[ModelKey, dict[int, tuple[int, int]]] = {}
    for repo, sha, matrix, exponent, dead, live in rows:
        by_model.setdefault((repo, sha, matrix), {})[exponent] = (dead, live)
    return {key: _without_gaps(counts) for key, counts in by_model.items()}


def _without_gaps(counts: Mapping[int, tuple[int, int]]) -> ExponentCounts:
    first, last = min(counts), max(counts)
    filled = [counts.get(exponent, (0, 0)) for exponent in range(first, last + 1)]
    return ExponentCounts(first, [dead for dead, _ in filled], [live for _, live in filled])
