"""A PIVOT that looks for its columns: DuckDB gives no syntax tree of it, so its words are looked at.

It is several statements, of which the last answers. What is in it is judged by its words alone,
strictly: only words of a SELECT, only functions that are allowed, and no writing that DuckDB's
lexer and ours might read differently (a comment in a comment, an escape, a dollar).
`PIVOT … ON column IN (…)` has a tree, and none of these limits.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from catalog.functions import EXPRESSIONS, RELATIONS, TABLES, names_of
from catalog.macros import MACROS
from catalog.views import view_columns
from survey.errors import UsageError

_WORDS = frozenset(
    "all and any anti as asc asof between both by case cast collate columns cross cube desc describe "
    "distinct else end except exclude exists false filter first following for from full group grouping "
    "having ilike in inner intersect interval is isnull join lambda last lateral left like limit map "
    "materialized natural not notnull null nulls of offset on only or order outer over partition pivot "
    "positional preceding qualify range recursive rename replace right rollup row rows select semi sets "
    "similar some struct tablesample then to trailing leading true try_cast unbounded union unpivot using "
    "values when where window with within year month day hour minute second name current coalesce extract "
    "ifnull at time zone bigint bit boolean char date decimal double float int integer numeric precision "
    "real smallint text timestamp varchar".split()
)
# Words that are no function, though a parenthesis follows.
_BEFORE_PARENTHESES = frozenset(
    "coalesce extract ifnull bit char decimal float numeric varchar timestamp time all and any as between "
    "by case columns cube distinct else except exclude exists filter from having in intersect is join "
    "like ilike limit materialized not offset on or over partition pivot qualify rename replace rollup "
    "select sets some then union unpivot using values when where with within recursive struct map cast "
    "try_cast row interval lateral grouping left right outer inner".split()
)
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")
_SIGNS = frozenset("()[]{},.;:+-*/%<>=!|&^~?@")


def refuse_unknown_words(sql: str) -> None:
    """Raises UsageError where a word of it is not known to be harmless."""
    columns = {column.name for described in view_columns().values() for column in described}
    keywords, tokens = _keywords() - _WORDS - columns, list(_tokens(sql))
    allowed = names_of(EXPRESSIONS).allowed | (names_of(TABLES).allowed - names_of(EXPRESSIONS).refused)
    allowed = (allowed - names_of(TABLES).refused) | MACROS.keys()
    system = names_of(RELATIONS).refused | names_of(TABLES).refused
    for number, (kind, text) in enumerate(tokens):
        if kind not in ("word", "quoted"):
            continue
        name = text.lower()
        before = tokens[number - 1][1].lower() if number else ""
        # `WITH x(a, b) AS` and `FROM … AS x(a, b)` name columns.
        called = tokens[number + 1 : number + 2] == [("sign", "(")] and before not in ("as", "with")
        if kind == "word" and name in keywords and not (called and name in allowed):
            _refuse(text)
        if called and name not in allowed and not (kind == "word" and name in _BEFORE_PARENTHESES):
            _refuse(f"{text}()")
        if name in system and not (called and name in allowed):
            _refuse(text)


def _refuse(what: str) -> None:
    raise UsageError(
        f"{what} is not allowed beside a PIVOT that looks for its columns: a catalog is only read. "
        "Name them: PIVOT … ON column IN ('a', 'b') …"
    )


def _keywords() -> frozenset[str]:
    """DuckDB's, of every category."""
    with duckdb.connect() as connection:
        return frozenset(
            name for (name,) in connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
        )


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(sql):
        sign = sql[at]
        if sign in " \t\r\n":
            at += 1
        elif sql.startswith(("--", "/*"), at):
            at = _after_comment(sql, at)
        elif sign in "'\"":
            text, at = _quoted(sql, at)
            yield "string" if sign == "'" else "quoted", text
        elif sign in _NAME or sign == "$":
            end = at + 1
            while end < len(sql) and sql[end] in _NAME:
                end += 1
            if (end < len(sql) and sql[end] in "'\"$") or sql[at:end] == "$":
                _refuse(f"{sql[at : end + 1]}…")
            yield "word" if not (sign == "$" or sign.isdigit()) else "other", sql[at:end]
            at = end
        elif sign in _SIGNS:
            yield "sign", sign
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


def _quoted(sql: str, start: int) -> tuple[str, int]:
    """What stands between quotes, of which two mean one, and where it ends."""
    quote, at, parts = sql[start], start + 1, []
    while (end := sql.find(quote, at)) != -1:
        parts.append(sql[at:end])
        if sql[end + 1 : end + 2] != quote:
            return quote.join(parts), end + 1
        at = end + 2
    raise UsageError(f"a {quote} has no end")
