"""The measures: pure functions from what one pass folded to groups of columns.

Shapes: V = vocabulary rows (tokens, padding included), D = hidden size, K = black holes.
All sums accumulate in float64. Undefined is None, never NaN. Rows with NaN or infinity are left
out of every sum, norm and centroid; identity by bytes and the exponent counts still see them.

A measure joins by one line in MEASURES, or in TOKEN_MEASURES where the per-token table is all that
it needs. When its formula changes, its version changes with it: rows of the old version are then
measured again; what a token measure says is made anew from the stored tokens, without the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from survey.measures.centroid import centroid
from survey.measures.dead_and_live import dead_and_live
from survey.measures.exponents import exponents
from survey.measures.frozen import frozen, frozen_rows
from survey.measures.identical_rows import identical_rows
from survey.measures.row_classes import row_classes
from survey.measures.row_norms import row_norms
from survey.measures.row_sketch import row_sketch
from survey.measures.shape import shape
from survey.measures.undertrained import dense_cluster, undertrained
from survey.onepass.projection import Projections
from survey.onepass.result import PassResult
from survey.records.measurement import Measurement, Tokens


class Measure(NamedTuple):
    """`of` gives one group of columns; `version` counts its formula's changes.

    search: looks at the sketches of all rows, which takes as long as all other measures together. It
    runs beside them in a thread; `of` gets its result as second argument.
    """

    version: int
    of: Callable[..., Any]  # Any: each measure returns its own record
    search: Callable[[Projections], Any] | None = None


class TokenMeasure(NamedTuple):
    """As Measure, from the per-token table alone."""

    version: int
    of: Callable[[Tokens], Any]


MEASURES: tuple[Measure, ...] = (
    Measure(1, shape),
    Measure(1, centroid),
    Measure(1, row_norms),
    Measure(1, identical_rows),
    Measure(1, dead_and_live),
    Measure(1, exponents),
    Measure(1, row_classes),
    Measure(1, frozen, search=frozen_rows),
    Measure(1, undertrained, search=dense_cluster),
)
TOKEN_MEASURES: tuple[TokenMeasure, ...] = (TokenMeasure(1, row_sketch),)
TOKENS = ("tokens", 1)  # the per-token table, unless it was declined


def versions(tokens: bool) -> dict[str, int]:
    """Name and version of every measure of the matrix; `tokens` where the per-token table is wanted."""
    found = {measure.of.__name__: measure.version for measure in MEASURES}
    return found | dict([TOKENS]) if tokens else found


def measure_result(folded: PassResult, *, tokens: bool = True, threads: int = 1) -> Measurement:
    """Every column of one matrix. threads: 1 searches in this thread, else beside the other measures."""
    with ThreadPoolExecutor(2, thread_name_prefix="search") if threads > 1 else nullcontext() as pool:
        searches = _searches(folded.sketches, pool)
        groups = [measure.of(folded) for measure in MEASURES if measure.search is None]
        groups += [
            measure.of(folded, searches[measure.of.__name__].result())
            for measure in MEASURES
            if measure.search is not None
        ]
    columns = {name: value for group in groups for name, value in vars(group).items()}
    per_token = _tokens(folded, columns["black_holes"], searches)
    columns |= from_tokens(per_token)
    measures = versions(tokens) | token_versions()
    return Measurement(**columns, measures=measures, tokens=per_token)


def token_versions() -> dict[str, int]:
    """Name and version of every measure of the per-token table."""
    return {measure.of.__name__: measure.version for measure in TOKEN_MEASURES}


def from_tokens(tokens: Tokens) -> dict[str, Any]:
    """The columns of every token measure."""
    groups = [vars(measure.of(tokens)) for measure in TOKEN_MEASURES]
    return {name: value for group in groups for name, value in group.items()}


def _searches(sketches: Projections, pool: Executor | None) -> dict[str, Future[Any]]:
    """Start what each measure looks for among the sketches, by the measure's name."""
    searches: dict[str, Future[Any]] = {}
    for measure in MEASURES:
        if measure.search is None:
            continue
        if pool is not None:
            searches[measure.of.__name__] = pool.submit(measure.search, sketches)
        else:
            done: Future[Any] = Future()
            done.set_result(measure.search(sketches))
            searches[measure.of.__name__] = done
    return searches


def _tokens(folded: PassResult, black_holes: tuple[Any, ...], searches: Mapping[str, Future[Any]]) -> Tokens:
    cluster = searches["undertrained"].result()
    rank = np.zeros(folded.vocab_rows, dtype=np.int32)
    for hole in black_holes:
        rank[list(hole.token_ids)] = hole.rank
    norm = np.where(folded.finite, folded.norms, np.nan)
    return Tokens(
        norm=norm,
        row_hash=folded.identity.row_hashes(),
        black_hole=rank,
        frozen=searches["frozen"].result(),
        undertrained=np.zeros(folded.vocab_rows, dtype=bool) if cluster is None else cluster.rows,
    )
