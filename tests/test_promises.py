"""The promises of docs/trust.md and docs/faults.md are tested: each row of their tables names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conftest import LONGEST
from documents.generated import ROOT

PAGES = {"docs/trust.md": "attacks", "docs/faults.md": "faults"}
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows(text: str, kind: str) -> list[str]:
    """The rows of every table below a `<!-- KIND: … -->`, without their heads."""
    tables = re.findall(rf"^<!-- {kind}: .*-->\n\|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


def problem(row: str, root: Path = ROOT) -> str | None:
    """What is wrong with the tests that a row names."""
    named = TEST.findall(row.rsplit("|", 2)[1])
    if not named:
        return f"names no test: {row}"
    for file, name in named:
        if not name:
            return f"names no test in {file}"
        if not (root / file).is_file() or name not in functions(root / file):
            return f"no such test: {file}::{name}"
    return None


def functions(file: Path) -> set[str]:
    """Tests of a file, by their names alone: nothing is imported."""
    tree = ast.parse(file.read_text())
    return {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize(("page", "kind"), PAGES.items(), ids=list(PAGES))
def test_every_row_names_tests_that_exist(page: str, kind: str) -> None:
    listed = rows((ROOT / page).read_text(), kind)
    assert len(listed) > 20
    assert [wrong for row in listed if (wrong := problem(row))] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_table_of_promises_is_read(page: str) -> None:
    text = (ROOT / page).read_text()
    named = sum(bool(TEST.search(line)) for line in text.splitlines())
    assert named == len(rows(text, PAGES[page]))


WRONG = [
    ("no test", "| a | b | none |", "names no test"),
    ("a file alone", "| a | b | `tests/test_promises.py` |", "names no test in"),
    ("no such file", "| a | b | `tests/test_nothing.py::test_x` |", "no such test"),
    ("no such test", "| a | b | `tests/test_promises.py::test_nothing` |", "no such test"),
    ("no test but a helper", "| a | b | `tests/test_promises.py::problem` |", "no such test"),
    (
        "one of two",
        "| a | `tests/test_promises.py::test_a_wrong_row_is_found` | `tests/x.py::test_x` |",
        "no such test",
    ),
]


@pytest.mark.parametrize(("row", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_row_is_found(row: str, message: str) -> None:
    assert message in str(problem(row))


@pytest.mark.parametrize(
    "row",
    [
        "| a | b | `tests/test_promises.py::test_a_wrong_row_is_found` |",
    ],
)
def test_a_right_row_is_none(row: str) -> None:
    assert problem(row) is None


def test_the_files_that_begin_first_exist() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
