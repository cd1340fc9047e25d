"""Two checkpoints compared in one row: their rows, their black holes, the base models of their cards."""

from __future__ import annotations

from catalog.read.reader import Answer, Reader
from queries.library import find

_CARDS = """
select model_a.base_model as base_model_a, model_b.base_model as base_model_b
from model_at($a, $matrix) as model_a, model_at($b, $matrix) as model_b"""


def lineage_text(reader: Reader, a: str, b: str, matrix: str) -> Answer:
    """The answers of shared_rows and same_grouping side by side, and the base models of both cards.

    a, b: repo, or repo@ a revision or commit. Raises UsageError if one is not in the catalog.
    """
    parameters = {"a": a, "b": b, "matrix": matrix}
    answers = [
        *(reader.ask(find(name).sql, parameters) for name in ("shared_rows", "same_grouping")),
        reader.ask(_CARDS, parameters),
    ]
    columns = {
        name: (kind, value)
        for answer in answers
        for name, kind, value in zip(answer.names, answer.types, answer.rows[0], strict=True)
    }
    kinds, values = zip(*columns.values(), strict=True)
    return Answer([*columns], list(kinds), [values])
