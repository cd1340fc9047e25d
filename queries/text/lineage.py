"""What two checkpoints have in common, as one row: their rows, their black holes, their cards."""

from __future__ import annotations

from catalog.read.reader import Answer, Reader
from queries.library import load

_CARDS = """
SELECT one.base_model AS base_model_a, other.base_model AS base_model_b
FROM model_at($a, $matrix) AS one, model_at($b, $matrix) AS other"""


def lineage_text(reader: Reader, a: str, b: str, matrix: str) -> Answer:
    """The queries shared_rows and same_grouping side by side, and what both cards state.

    a, b: repo, or repo@ a revision or commit. Raises UsageError where one is not in the catalog.
    """
    library = load()
    parameters = {"a": a, "b": b, "matrix": matrix}
    answers = [
        *(reader.ask(library[name].sql, parameters) for name in ("shared_rows", "same_grouping")),
        reader.ask(_CARDS, parameters),
    ]
    columns = {
        name: (kind, value)
        for answer in answers
        for name, kind, value in zip(answer.names, answer.types, answer.rows[0], strict=True)
    }
    kinds, values = zip(*columns.values(), strict=True)
    return Answer([*columns], list(kinds), [values])
