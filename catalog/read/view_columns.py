"""The views of a catalog and their columns: one source for SQL, the data dictionary and completion."""

from __future__ import annotations

from catalog.schema_of_records import (
    Column,
    attempt_columns,
    hole_columns,
    result_columns,
    row_columns,
    token_columns,
)
from survey.records.results import RESULTS

VECTORS = ("centroid", "dead_centroid", "live_centroid")
SKETCHES = ("row_sketch", "norm_sketch", "value_sketch")
_NESTED = (
    "class_overlaps",
    "black_holes",
    "black_hole_texts",
    "exponents_all",
    "exponents_dead",
    *VECTORS,
    *SKETCHES,
)
_KEY = ("repo", "sha", "matrix")
_COUNTS = (
    Column("exponent", "BIGINT", "", "biased exponent"),
    Column("all_count", "BIGINT", "", "elements with it, all rows"),
    Column("dead_count", "BIGINT", "", "elements with it, dead rows"),
    Column("live_count", "BIGINT", "", "elements with it, live rows"),
)
_TEXTS = Column("texts", "VARCHAR[]", "", "what its first tokens stand for; NULL without a tokenizer")
_REVISIONS = Column("revisions", "VARCHAR[]", "", "every name that led to this commit, in order")


def view_columns() -> dict[str, tuple[Column, ...]]:
    """Every view with its columns, in the order in which they are documented."""
    models = tuple(column for column in row_columns() if column.name not in _NESTED)
    key = _named(_KEY)
    return {
        "models": models,
        "models_history": (*models, _REVISIONS),
        "black_holes": (*key, *hole_columns(), _TEXTS),
        "exponents": (*key, *_COUNTS),
        "vectors": (*key, *_named(VECTORS)),
        "sketches": (*key, *_named(SKETCHES)),
        "tokens": token_columns(),
        "attempts": attempt_columns(),
        **{kind: result_columns(kind) for kind in RESULTS},
    }


def _named(names: tuple[str, ...]) -> tuple[Column, ...]:
    """The columns of a row file with these names, in its order."""
    return tuple(column for column in row_columns() if column.name in names)
