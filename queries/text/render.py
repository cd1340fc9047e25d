"""Answers for people: a table, or a card for each row."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog.read.reader import Answer
from survey.errors import printable

# More are not printed: nobody reads to their end, and each row takes up to a millisecond, a card two.
TABLE_ROWS, CARDS = 1000, 100
_CARD_COLUMNS = 14  # a table with more columns prints each row as a card
_LIST_ITEMS = 6
_TEXT_CHARS = 10_000  # a forged text may have millions, which take a console minutes
_TEXT_WIDTH = 16  # the narrowest column of folded text
_NUMERIC = frozenset({"BIGINT", "DOUBLE", "INTEGER", "UBIGINT", "FLOAT", "HUGEINT"})


def print_table(answer: Answer, console: Console) -> None:
    """Print a table, or a card for each row if the columns do not fit side by side."""
    numeric = [kind in _NUMERIC for kind in answer.types]
    names = [printable(name) for name in answer.names]  # the column names of a PIVOT are data
    rows = [[short(value) for value in row] for row in answer.rows]
    if rows and not _fits(names, rows, numeric, console.width):
        shown = min(len(rows), CARDS)
        for texts in rows[:shown]:
            console.print(_card(names, texts))
    else:
        shown = len(rows)
        _print_side_by_side(names, rows, numeric, console)
    if not rows:
        console.print("(no rows)", style="dim")
    if answer.truncated or shown < len(rows):
        console.print(f"(the first {shown:,} rows; csv prints all)", style="dim")


def _print_side_by_side(
    names: list[str], shown: list[list[str]], numeric: list[bool], console: Console
) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, number in zip(names, numeric, strict=True):
        # A number is never folded: a reader would take its pieces for two numbers.
        table.add_column(escape(name), justify="right" if number else "left", overflow="fold", no_wrap=number)
    for texts in shown:
        table.add_row(*map(escape, texts))
    console.print(table)


def print_queries(queries: Answer, console: Console) -> None:
    """Print the named queries: each with its help, its parameters, and the columns of its answer."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, answers, parameters, columns in queries.rows:
        table.add_row(escape(name), escape(printable(answers)))
        table.add_row("", f"[cyan]{escape(printable(parameters))}[/]")
        table.add_row("", f"[dim]{escape(printable(columns))}[/]")
    console.print(table)


def _fits(names: list[str], rows: list[list[str]], numeric: list[bool], width: int) -> bool:
    """Whether all numbers fit in full, and every text with at least _TEXT_WIDTH characters."""
    needed = 0
    for index, name in enumerate(names):
        widest = max(len(name), *(len(row[index]) for row in rows))
        needed += 2 + (widest if numeric[index] else min(widest, max(len(name), _TEXT_WIDTH)))
    return len(names) <= _CARD_COLUMNS and needed - 2 <= width


def short(value: Any) -> str:  # Any: whatever SQL returns
    """A value for a person: six digits, a dot for NULL, the head of a long list or text."""
    if value is None:
        return "·"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, list | tuple):  # a tuple is an array of fixed length
        shown = ", ".join(short(item) for item in value[:_LIST_ITEMS])
        return f"[{shown}{', …' if len(value) > _LIST_ITEMS else ''}]"
    text = str(value)
    return printable(text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}…")


def _card(names: list[str], texts: list[str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in zip(names, texts, strict=True):
        table.add_row(escape(name), escape(text))
    table.add_row("", "")
    return table
