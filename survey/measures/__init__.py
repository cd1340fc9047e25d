"""The measures: pure functions from what one pass folded to groups of columns.

Shapes: V = vocabulary rows (tokens, padding included), D = hidden size, K = black holes.
All sums accumulate in float64. Undefined is None, never NaN. Rows with NaN or infinity are left
out of every sum, norm and centroid; identity by bytes and the exponent counts still see them.

A measure joins by one line in MEASURES, or in TOKEN_MEASURES where the per-token table is all that
it needs. When its formula changes, its version changes with it: rows of the old version are then
measured again; what a token measure says is made anew from the stored tokens, without the matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from survey.folded import Folded
from survey.measurement import Measurement, Tokens
from survey.measures.centroid import centroid
from survey.measures.dead_and_live import dead_and_live
from survey.measures.exponents import exponents
from survey.measures.frozen import frozen
from survey.measures.identical_rows import identical_rows
from survey.measures.row_classes import row_classes
from survey.measures.row_norms import row_norms
from survey.measures.row_sketch import row_sketch
from survey.measures.shape import shape
from survey.measures.undertrained import undertrained


class Measure(NamedTuple):
    """`of` gives one group of columns; `version` counts its formula's changes."""

    version: int
    of: Callable[[Folded], Any]  # Any: each measure returns its own record


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
    Measure(1, frozen),
    Measure(1, undertrained),
)
TOKEN_MEASURES: tuple[TokenMeasure, ...] = (TokenMeasure(1, row_sketch),)
TOKENS = ("tokens", 1)  # the per-token table, unless it was declined


def versions(tokens: bool) -> dict[str, int]:
    """Name and version of every measure of the matrix; `tokens` where the per-token table is wanted."""
    found = {measure.of.__name__: measure.version for measure in MEASURES}
    return found | dict([TOKENS]) if tokens else found


def measure_folded(folded: Folded, *, tokens: bool = True) -> Measurement:
    """Every column of one matrix."""
    groups = [vars(measure.of(folded)) for measure in MEASURES]
    columns = {name: value for group in groups for name, value in group.items()}
    per_token = _tokens(folded, columns["black_holes"])
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


def _tokens(folded: Folded, black_holes: tuple[Any, ...]) -> Tokens:
    rank = np.zeros(folded.vocab_rows, dtype=np.int32)
    for hole in black_holes:
        rank[list(hole.token_ids)] = hole.rank
    norm = np.where(folded.finite, folded.norms, np.nan)
    return Tokens(
        norm=norm,
        row_hash=folded.identity.row_hashes(),
        black_hole=rank,
        frozen=folded.frozen,
        undertrained=folded.compact.rows if folded.compact else np.zeros(folded.vocab_rows, dtype=bool),
    )
