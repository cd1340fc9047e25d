"""What counts as done: the same commit, the same matrix, every measure at its version."""

from __future__ import annotations

import pytest

from catalog.read.measured import MeasuredRow, MeasuredRows
from survey.records.target import MatrixChoice

WANTED = {"centroid": 1, "tokens": 1}
UNTIED = MeasuredRow({"centroid": 1, "tokens": 1, "retired": 4}, tied=False)
TIED = MeasuredRow({"centroid": 1, "tokens": 1}, tied=True)
OLD = MeasuredRow({"centroid": 0, "tokens": 1}, tied=True)
WITHOUT_TOKENS = MeasuredRow({"centroid": 1}, tied=True)

CASES: list[tuple[str, dict[str, MeasuredRow], MatrixChoice, list[str] | None]] = [
    ("nothing there", {}, "output", None),
    ("there", {"output": UNTIED}, "output", ["output"]),
    ("the other matrix", {"output": UNTIED}, "input", None),
    ("both on tied is one row", {"output": TIED}, "both", ["output"]),
    ("both on untied needs two", {"output": UNTIED}, "both", None),
    ("both on untied, two there", {"output": UNTIED, "input": UNTIED}, "both", ["output", "input"]),
    ("an older version", {"output": OLD}, "output", None),
    ("before a measure was known", {"output": MeasuredRow({"tokens": 1}, tied=True)}, "output", ["output"]),
    ("tokens were declined then", {"output": WITHOUT_TOKENS}, "output", None),
]


@pytest.mark.parametrize(
    ("rows", "matrix", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_model_is_done_when_all_that_is_asked_is_there(
    rows: dict[str, MeasuredRow], matrix: MatrixChoice, expected: list[str] | None
) -> None:
    done = MeasuredRows({("a/b", "c" * 40, name): row for name, row in rows.items()})
    assert done.matrices("a/b", "c" * 40, matrix, WANTED) == expected


def test_another_commit_is_another_model() -> None:
    done = MeasuredRows({("a/b", "c" * 40, "output"): TIED})
    assert done.matrices("a/b", "d" * 40, "output", WANTED) is None
