"""Limits of a statement's text, checked before any parser reads it.

DuckDB's parser, its planner and Python's JSON recurse: 100,000 brackets or UNIONs crash the process or never
end, even if it only lists a query.
"""

from __future__ import annotations

import re

from survey.errors import UsageError, storable

MAX_CHARS = 200_000  # DuckDB survives the longest chains that fit: 97,500 operators, 10,263 UNIONs
MAX_BRACKETS = 300  # of nesting; our own queries are 9 deep
# Each alternative begins differently and always matches, so that the search is linear.
LEXEMES = re.compile(
    r"""'[^']*'? | "[^"]*"? | --[^\n]* | /\*(?:.*?\*/|.*) | [(\[{] | [)\]}]""", re.VERBOSE | re.DOTALL
)


def refuse_oversized(sql: str) -> None:
    """Raises UsageError if a statement is too long, no UTF-8, or its brackets are nested too deep."""
    if len(sql) > MAX_CHARS:
        raise UsageError(
            f"the statement has {len(sql):,} characters, expected {MAX_CHARS:,} or fewer: "
            "ask for less at once, or put long lists of values into a join"
        )
    if storable(sql) != sql:
        raise UsageError("the statement holds bytes that are not UTF-8")
    if (depth := bracket_depth(sql)) > MAX_BRACKETS:
        raise UsageError(
            f"the statement is nested too deeply: {depth:,} brackets, expected {MAX_BRACKETS} or fewer; "
            "give the inner queries names with WITH"
        )


def bracket_depth(sql: str) -> int:
    """The greatest number of open brackets, outside of quotes and comments."""
    depth = deepest = 0
    for token in LEXEMES.finditer(sql):
        if token.group() in ("(", "[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token.group() in (")", "]", "}"):
            depth = max(0, depth - 1)
    return deepest
