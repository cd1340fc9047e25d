"""The measures: pure functions from the result of one pass to groups of columns.

Shapes: V = vocabulary rows (tokens, padding included), D = hidden size, K = black holes.
All sums accumulate in float64. Undefined is None, never NaN. Rows with NaN or infinity are left
out of every sum, norm and centroid; identity by bytes and the exponent counts still see them.

A measure joins by one line in MEASURES. When its formula changes, its version changes with it, and its
source says what is read again: the matrix, or only the stored per-token table, or the tokenizer.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from survey.measures.centroid import centroid
from survey.measures.copies import copies
from survey.measures.dead_and_live import dead_and_live
from survey.measures.exactness import exactness
from survey.measures.exponents import exponents
from survey.measures.frozen import frozen, frozen_rows
from survey.measures.identical_rows import identical_rows
from survey.measures.isotropy import isotropy
from survey.measures.norm_order import norm_order
from survey.measures.norm_sketch import norm_sketch
from survey.measures.row_classes import row_classes
from survey.measures.row_norms import row_norms
from survey.measures.row_sketch import row_sketch
from survey.measures.shape import shape
from survey.measures.stored_bits import stored_bits
from survey.measures.undertrained import Undertraining, undertrained_populations, undertraining
from survey.onepass.projection import Projections, RowFlags
from survey.onepass.result import PassResult
from survey.onepass.row_threads import RowThreads
from survey.records.measure_definition import TOKEN_TABLE, TOKENIZER, UNUSED_DISTANCES, Measure, versions_of
from survey.records.measured_columns import Measurement, Tokens

MEASURES: tuple[Measure, ...] = (
    Measure("shape", 1, "matrix", shape),
    Measure("centroid", 1, "matrix", centroid),
    Measure("row_norms", 1, "matrix", row_norms),
    Measure("identical_rows", 1, "matrix", identical_rows),
    Measure("dead_and_live", 2, "matrix", dead_and_live),
    Measure("copies", 1, "matrix", copies),
    Measure("exponents", 2, "matrix", exponents),
    Measure("row_classes", 2, "matrix", row_classes),
    Measure("exactness", 2, "matrix", exactness),
    Measure("isotropy", 1, "matrix", isotropy),
    Measure("stored_bits", 1, "matrix", stored_bits),
    # Those with a search stand last: they are waited for, and the others run meanwhile.
    Measure("frozen", 1, "matrix", frozen, search=frozen_rows),
    Measure("undertrained", 8, "matrix", search=undertrained_populations),
    TOKEN_TABLE,
    Measure("row_sketch", 1, "token_table", row_sketch),
    Measure("norm_sketch", 1, "token_table", norm_sketch),
    Measure("norm_order", 1, "token_table", norm_order),
    TOKENIZER,  # computed by survey.vocabulary.token_texts
    UNUSED_DISTANCES,  # computed by survey.measures.unused_distances
)
_MATRIX_MEASURES = tuple(measure for measure in MEASURES if measure.source == "matrix")
TOKEN_MEASURES = tuple(measure for measure in MEASURES if measure.source == "token_table")


def required_measures(*, tokens: bool, reference: bool) -> tuple[Measure, ...]:
    """The measures that a stored row must have, so that its matrix is not read again.

    tokens: with the per-token table. reference: with distances to reference tokens.
    """
    of_matrix = tuple(measure for measure in _MATRIX_MEASURES if tokens or measure is not TOKEN_TABLE)
    return (*of_matrix, UNUSED_DISTANCES) if reference else of_matrix


def measure_result(result: PassResult, *, tokens: bool = True, threads: int = 1) -> Measurement:
    """Every column of one matrix.

    tokens: whether the per-token table is kept. threads: 1 searches in this thread, more beside the other
    measures; as many share the loops over all rows.
    """
    with _pool(threads, "rows") as row_pool, _pool(min(threads, 2), "search") as pool:
        projections = replace(result.projections, threads=RowThreads(row_pool, threads))
        searches = _start_searches(projections, pool)
        columns: dict[str, Any] = {}
        for measure in _MATRIX_MEASURES:
            if measure.compute is not None:
                searched = [searches[measure.name].result()] if measure.search else []
                columns |= vars(measure.compute(result, *searched))
    candidates = undertraining(result, searches["undertrained"].result())
    columns |= vars(candidates.columns)
    per_token = _token_table(result, columns["black_holes"], searches["frozen"].result(), candidates)
    columns |= columns_from_tokens(per_token)
    measures = versions_of((*required_measures(tokens=tokens, reference=False), *TOKEN_MEASURES))
    return Measurement(**columns, measures=measures, tokens=per_token)


def columns_from_tokens(tokens: Tokens) -> dict[str, Any]:
    """The columns of every measure of the per-token table."""
    groups = [vars(measure.compute(tokens)) for measure in TOKEN_MEASURES if measure.compute is not None]
    return {name: value for group in groups for name, value in group.items()}


def _pool(threads: int, name: str) -> AbstractContextManager[Executor | None]:
    """So many threads; None if one is enough."""
    return ThreadPoolExecutor(threads, thread_name_prefix=name) if threads > 1 else nullcontext()


def _start_searches(projections: Projections, pool: Executor | None) -> dict[str, Future[Any]]:
    """Start the search of each measure that has one, by the measure's name; without a pool, run it."""
    searches: dict[str, Future[Any]] = {}
    for measure in _MATRIX_MEASURES:
        if measure.search is None:
            continue
        if pool is not None:
            searches[measure.name] = pool.submit(measure.search, projections)
        else:
            done: Future[Any] = Future()
            done.set_result(measure.search(projections))
            searches[measure.name] = done
    return searches


def _token_table(
    result: PassResult, black_holes: tuple[Any, ...], frozen_flags: RowFlags, candidates: Undertraining
) -> Tokens:
    """The per-token table, [V] each."""
    rank = np.zeros(result.vocab_rows, dtype=np.int32)
    for black_hole in black_holes:
        rank[list(black_hole.token_ids)] = black_hole.rank
    return Tokens(
        norm=np.where(result.finite, result.norms, np.nan),
        row_hash=result.identity.row_hashes(),
        value_hash=result.other_value_hashes,
        black_hole=rank,
        frozen=frozen_flags,
        undertrained=candidates.flags,
        population=candidates.population,
    )
