"""Names say what they hold: no words of a private dialect, one name for one thing, shapes where arrays are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.structure import OURS, ROOT, structure

DIALECT = frozenset({"found", "wanted", "told", "asked"})
ARRAYS = re.compile(r"\b(NDArray|Float64s|UInt64s|torch\.Tensor)\b")
MODULES = sorted(path for folder in OURS for path in folder.rglob("*.py"))


def bindings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names that are given a meaning: variables, parameters, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def without_shapes(tree: ast.Module) -> Iterator[str]:
    """Public functions that take or return an array, and whose docstring gives no shape such as [V, D]."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        annotations = [argument.annotation for argument in node.args.args + node.args.kwonlyargs]
        text = " ".join(ast.unparse(item) for item in [*annotations, node.returns] if item is not None)
        if ARRAYS.search(text) and "[" not in (ast.get_docstring(node) or ""):
            yield node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_binding_is_a_noun_that_says_what_it_holds(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [(line, name) for line, name in bindings(tree) if name in DIALECT] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_of_arrays_states_their_shapes(path: Path) -> None:
    assert list(without_shapes(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("found = 1", ["found"]),
        ("def read(wanted): ...", ["wanted"]),
        ("for told in (): ...", ["told"]),
        ("rows = 1", []),
        ("print(found)", []),
    ],
)
def test_a_word_of_the_dialect_is_seen_where_it_is_bound(code: str, names: list[str]) -> None:
    assert [name for _, name in bindings(ast.parse(code)) if name in DIALECT] == names


def test_a_function_without_shapes_is_seen() -> None:
    code = 'def lengths(rows: NDArray[Any]) -> float:\n    """Lengths."""\ndef ok(rows: NDArray[Any]):\n    """[R, D]."""'
    assert list(without_shapes(ast.parse(code))) == ["lengths"]


def test_a_public_name_means_one_thing() -> None:
    figures = structure(OURS)
    assert figures.reused_share <= 0.015, figures.reused


def test_the_words_of_the_dialect_are_rare() -> None:
    assert sum(structure(OURS).dialect.values()) <= 3
