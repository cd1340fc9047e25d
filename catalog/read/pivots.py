"""A PIVOT that takes its columns from the data: DuckDB gives a syntax tree only if it names them.

Such a PIVOT is several statements, of which the last one answers. So `ON column` becomes `ON (column) IN
(0)`, and the tree of that is checked: both have the same tables and functions. The text must not contain
anything that DuckDB's lexer and ours read differently (a comment in a comment, an escape, a dollar).
`PIVOT … ON column IN (…)` has a tree of its own, and none of these limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from survey.errors import UsageError

PIVOT_HINT = (
    "is not allowed in a PIVOT that looks for its columns: a catalog is only read. "
    "Name them: PIVOT … ON column IN ('a', 'b') …"
)
_PIVOTS = frozenset({"pivot", "pivot_wider"})
_AFTER_COLUMNS = frozenset("using group order limit offset fetch union except intersect".split())
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")
_SIGNS = frozenset("()[]{},.;:+-*/%<>=!|&^~?@")


@dataclass(frozen=True, slots=True)
class _Token:
    """kind: word, quoted, string, sign or other. It stands at [start, end)."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(slots=True)
class _Level:
    """The text between one pair of brackets: the columns of the last PIVOT that began there."""

    pivots: bool = False
    columns: list[list[_Token]] | None = None  # None before its ON
    closed: list[tuple[int, int]] = field(default_factory=list)

    def close(self) -> None:
        """Keep the positions of its columns: the PIVOT ends here."""
        self.closed += [(tokens[0].start, tokens[-1].end) for tokens in self.columns or [] if tokens]
        self.pivots, self.columns = False, None

    def take(self, token: _Token) -> None:
        """Process the next token of this level."""
        word = token.text.lower() if token.kind == "word" else ""
        if word in _PIVOTS:
            self.close()
            self.pivots = True
        elif word == "on" and self.pivots:
            self.columns = [[]]  # an ON without PIVOT before it is a join's
        elif self.columns is None:
            return
        elif word in _AFTER_COLUMNS or token == _Token("sign", ";", token.start, token.end):
            self.close()
        elif token.kind == "sign" and token.text == ",":
            self.columns.append([])
        else:
            self.columns[-1].append(token)


def with_columns(sql: str) -> str:
    """The statement with columns named in every PIVOT that names none: for its syntax tree, not to be run.

    Raises UsageError if the text may be read in two ways.
    """
    levels, columns = [_Level()], []
    for token in _tokens(sql):
        sign = token.text if token.kind == "sign" else ""
        if sign in {")", "]", "}"} and len(levels) > 1:
            levels[-1].close()
            columns += levels.pop().closed
        levels[-1].take(token)
        if sign in {"(", "[", "{"}:
            levels.append(_Level())
    for level in levels:
        level.close()
        columns += level.closed
    inserted = [*((start, "(") for start, _ in columns), *((end, ") IN (0) ") for _, end in columns)]
    parts, at = [], 0
    for index, text in sorted(inserted):
        parts += [sql[at:index], text]
        at = index
    return "".join([*parts, sql[at:]])


def _refuse(what: str) -> None:
    raise UsageError(f"{what} {PIVOT_HINT}")


def _tokens(sql: str) -> Iterator[_Token]:
    at = 0
    while at < len(sql):
        sign = sql[at]
        if sign in " \t\r\n":
            at += 1
        elif sql.startswith(("--", "/*"), at):
            at = _after_comment(sql, at)
        elif sign in "'\"":
            end = _after_quotes(sql, at)
            yield _Token("string" if sign == "'" else "quoted", "", at, end)
            at = end
        elif sign in _NAME or sign == "$":
            end = at + 1
            while end < len(sql) and sql[end] in _NAME:
                end += 1
            if (end < len(sql) and sql[end] in "'\"$") or sql[at:end] == "$":
                _refuse(f"{sql[at : end + 1]}…")
            yield _Token("other" if sign == "$" or sign.isdigit() else "word", sql[at:end], at, end)
            at = end
        elif sign in _SIGNS:
            yield _Token("sign", sign, at, at + 1)
            at += 1
        else:
            _refuse(sql[at : at + 2])


def _after_comment(sql: str, start: int) -> int:
    opens, closes = ("--", "\n") if sql.startswith("--", start) else ("/*", "*/")
    end = sql.find(closes, start + 2)
    if end == -1:
        end = len(sql)
    if (opens == "/*" and opens in sql[start + 2 : end]) or "\r" in sql[start:end]:
        _refuse("a comment in a comment" if opens == "/*" else "a carriage return in a comment")
    return end + len(closes)


def _after_quotes(sql: str, start: int) -> int:
    """The end of a quoted text; a doubled quote stands for one."""
    quote, at = sql[start], start + 1
    while (end := sql.find(quote, at)) != -1:
        if sql[end + 1 : end + 2] != quote:
            return end + 1
        at = end + 2
    raise UsageError(f"a {quote} has no end")
