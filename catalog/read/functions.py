"""The functions and system views of DuckDB that a query may use: each was examined.

`python -m tests.functions` makes `functions.txt` from DuckDB's own catalog, and adds new functions as
refused. A function is refused if it reads or writes files, settings, secrets, logs or sequences, if it runs
statements given as text, or if it only costs time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

EXPRESSIONS, TABLES, RELATIONS = "expressions", "tables", "views"
LISTS = Path(__file__).with_name("functions.txt")


@dataclass(frozen=True, slots=True)
class FunctionNames:
    """The names of one kind, allowed and refused."""

    allowed: frozenset[str]
    refused: frozenset[str]

    def allows(self, name: str) -> bool:
        return name in self.allowed


def names_of(kind: str) -> FunctionNames:
    """The names of EXPRESSIONS, TABLES (functions that give rows) or RELATIONS (system views)."""
    return _lists()[kind]


@cache
def _lists() -> Mapping[str, FunctionNames]:
    names: dict[str, set[str]] = {}
    for line in LISTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = names.setdefault(line.strip("[]"), set())
        elif line and not line.startswith("# "):
            section.add(line)
    return {
        kind: FunctionNames(frozenset(names[f"{kind} allowed"]), frozenset(names[f"{kind} refused"]))
        for kind in (EXPRESSIONS, TABLES, RELATIONS)
    }
