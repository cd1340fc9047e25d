"""What counts as done: the same commit, the same matrix, every measure at its version."""

from __future__ import annotations

import pytest

from catalog.read.measured import MeasuredRow, MeasuredRows
from survey.records.measure_definition import TOKEN_TABLE, UNUSED_DISTANCES, Measure
from survey.records.target import MatrixChoice

REQUIRED = (Measure("centroid", 1, "matrix"), TOKEN_TABLE)
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
def test_a_model_is_done_if_all_requested_measures_are_there(
    rows: dict[str, MeasuredRow], matrix: MatrixChoice, expected: list[str] | None
) -> None:
    done = MeasuredRows({("a/b", "c" * 40, name): row for name, row in rows.items()})
    assert done.matrices("a/b", "c" * 40, matrix, REQUIRED) == expected


def test_another_commit_is_another_model() -> None:
    done = MeasuredRows({("a/b", "c" * 40, "output"): TIED})
    assert done.matrices("a/b", "d" * 40, "output", REQUIRED) is None


def test_distances_are_measured_again_only_if_a_run_asks_for_them() -> None:
    done = MeasuredRows({("a/b", "c" * 40, "output"): UNTIED})
    assert done.matrices("a/b", "c" * 40, "output", REQUIRED) == ["output"]
    assert done.matrices("a/b", "c" * 40, "output", (*REQUIRED, UNUSED_DISTANCES)) is None


def test_a_row_whose_token_table_is_gone_is_measured_again_only_if_a_run_asks_for_the_table() -> None:
    row = MeasuredRow({"centroid": 1, "tokens": 1}, tied=True, has_tokens=False)
    done = MeasuredRows({("a/b", "c" * 40, "output"): row})
    assert done.matrices("a/b", "c" * 40, "output", REQUIRED) is None
    assert done.matrices("a/b", "c" * 40, "output", REQUIRED[:1]) == ["output"]
