"""Histograms of single models: row norms in medians, and biased exponents, dead against live."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.read.reader import Reader

NORM_BARS, NORM_STEP = 40, 0.05  # and one bar more, for all rows beyond two medians
BLOCKS = "▁▂▃▄▅▆▇█"
ModelKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Histograms:
    """Of one matrix; None where there is nothing to count, such as no per-token table."""

    norms: list[int] | None
    exponents: dict[str, Any] | None


def histograms(reader: Reader, key: ModelKey) -> Histograms:
    """The histograms of one repo, sha and matrix."""
    chosen = "(from models_history where repo = $repo and sha = $sha and matrix = $matrix)"
    parameters = dict(zip(("repo", "sha", "matrix"), key, strict=True))
    norms = norm_counts(reader, chosen, parameters)
    exponents = exponent_counts(reader, chosen, parameters)
    return Histograms(norms.get(key), exponents.get(key))


def norm_counts(reader: Reader, chosen: str, parameters: Mapping[str, Any]) -> dict[ModelKey, list[int]]:
    """Rows in each bar of `NORM_STEP` medians, by repo, sha and matrix; the last bar holds all beyond.

    chosen: a relation with the key and token_norm_median. Models without per-token tables are left out.
    """
    answer = reader.ask(
        f"""
        select
            repo, sha, matrix, count(*) as count,
            least(floor(norm / token_norm_median / {NORM_STEP}), {NORM_BARS})::int as bar
        from tokens
        join (select repo, sha, matrix, token_norm_median from {chosen}) using (repo, sha, matrix)
        where token_norm_median > 0 and norm is not null
        group by all
        """,
        parameters,
    )
    counts: dict[ModelKey, list[int]] = {}
    for repo, sha, matrix, count, bar in answer.rows:
        counts.setdefault((repo, sha, matrix), [0] * (NORM_BARS + 1))[bar] = count
    return counts


def norm_bars(counts: Sequence[int]) -> list[dict[str, float]]:
    """A norm histogram's bars for a chart: left and right edge in medians, and rows."""
    return [
        {"norm": round(at * NORM_STEP, 6), "end": round((at + 1) * NORM_STEP, 6), "count": count}
        for at, count in enumerate(counts)
    ]


def exponent_counts(
    reader: Reader, chosen: str, parameters: Mapping[str, Any]
) -> dict[ModelKey, dict[str, Any]]:
    """The `first` biased exponent that occurs, and from there on the counts of `dead` and `live` elements.

    chosen: a relation with repo, sha and matrix, by which the answer is keyed.
    """
    answer = reader.ask(
        f"""
        select repo, sha, matrix, exponent, dead_count, live_count
        from exponents
        join (select repo, sha, matrix from {chosen}) using (repo, sha, matrix)
        """,
        parameters,
    )
    by_model: dict[ModelKey, dict[int, tuple[int, int]]] = {}
    for repo, sha, matrix, exponent, dead, live in answer.rows:
        by_model.setdefault((repo, sha, matrix), {})[exponent] = (dead, live)
    return {key: _dense(counts) for key, counts in by_model.items()}


def exponent_shares(counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An exponent histogram's bars for a chart: shares of the dead and of the live elements."""
    return [
        {"exponent": exponent, "rows": rows, "share": count / total, "count": count}
        for rows in ("dead", "live")
        if (total := sum(counts[rows]))
        for exponent, count in enumerate(counts[rows], counts["first"])
    ]


def sparkline(counts: Sequence[int]) -> str:
    """One character for each count, its height by the logarithm; a space where there is none."""
    top = math.log1p(max(counts, default=0))
    return "".join(
        BLOCKS[min(int(math.log1p(count) / top * len(BLOCKS)), len(BLOCKS) - 1)] if count else " "
        for count in counts
    )


def _dense(counts: Mapping[int, tuple[int, int]]) -> dict[str, Any]:
    first, last = min(counts), max(counts)
    filled = [counts.get(at, (0, 0)) for at in range(first, last + 1)]
    return {"first": first, "dead": [dead for dead, _ in filled], "live": [live for _, live in filled]}
