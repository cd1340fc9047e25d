"""What a measure is, and the measures that the catalog and the planner name themselves.

The list of all measures is `survey.measures.MEASURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

# What must be read again when a measure's version changes: the matrix; the stored per-token table; the
# tokenizer, not the matrix; the matrix and the rows that are known to be unused.
MeasureSource = Literal["matrix", "token_table", "tokenizer", "reference_tokens"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A name and a version, which counts changes of the formula; a row of the catalog states both.

    on_request: only some runs ask for it, so that a stored row may lack it and is then measured again. Any
    other measure that a stored row lacks is newer than the row, which is no reason to read a matrix again.
    compute: returns one group of columns. search: examines the projections of all rows, which takes as long
    as all other measures together; it runs beside them in a thread, and `compute` gets its result as second
    argument.
    """

    name: str
    version: int
    source: MeasureSource
    compute: Callable[..., Any] | None = None  # Any: each measure returns its own record
    search: Callable[..., Any] | None = None
    on_request: bool = False


TOKEN_TABLE = Measure("tokens", 1, "matrix", on_request=True)  # the per-token table, unless it was declined
TOKENIZER = Measure("names", 3, "tokenizer")  # texts and flags of tokens
UNUSED_DISTANCES = Measure("unused_distances", 2, "reference_tokens", on_request=True)


def versions_of(measures: Iterable[Measure]) -> dict[str, int]:
    """Name and version of each measure."""
    return {measure.name: measure.version for measure in measures}
