"""Answers as text: a table for people; CSV, JSON, Markdown and Parquet for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog.read.reader import Answer
from survey.errors import printable

# How text begins that spreadsheets run: a sign, of full width too, behind what they skip or a separator of
# theirs that is none of ours. A semicolon is one wherever numbers have a decimal comma.
_FORMULA = re.compile(r"(?:^|(?<=[;\t\r\n]))(?=\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r])")
_EXACT = 2**53  # programs that read JSON numbers as doubles round larger integers
_CARD_COLUMNS = 14  # a table with more columns prints each row as a card
_LIST_ITEMS = 6
_TEXT_WIDTH = 16  # the narrowest column of folded text
_NUMERIC = frozenset({"BIGINT", "DOUBLE", "INTEGER", "UBIGINT", "FLOAT", "HUGEINT"})


def as_csv(answer: Answer) -> str:
    """RFC 4180 for files and pipes: lists and structs as JSON, NULL empty, text unchanged."""
    return _csv(answer, lambda text: text)


def as_terminal_csv(answer: Answer) -> str:
    """The same for a terminal, which would obey control and direction characters: they are escaped."""
    return _csv(answer, printable)


def as_download_csv(answer: Answer) -> str:
    """The same for a spreadsheet: an apostrophe stands before text that it would run as a formula."""
    return _csv(answer, lambda text: _FORMULA.sub("'", text))


def formulas(answer: Answer) -> int:
    """The number of cells that a spreadsheet would run if it opened the CSV."""
    cells = (value for row in (answer.names, *answer.rows) for value in row)
    return sum(isinstance(cell := _cell(value), str) and bool(_FORMULA.search(cell)) for value in cells)


def _csv(answer: Answer, shown: Callable[[str], str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in (answer.names, *answer.rows):
        cells = [_cell(value) for value in row]
        writer.writerow([shown(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue()


def as_json(answer: Answer) -> str:
    """A list of objects. Repeated column names get numbers; NaN and infinity become null."""
    names = _distinct(answer.names)
    rows = [dict(zip(names, map(json_value, row), strict=True)) for row in answer.rows]
    text = json.dumps(rows, default=_plain, ensure_ascii=False, allow_nan=False, indent=1)
    return _escaped(text) + "\n"


def as_page_json(answer: Answer) -> str:
    """Columns, types and rows as separate lists, for pages; `truncated` if there are more rows."""
    page = {
        "columns": answer.names,
        "types": answer.types,
        "rows": [[json_value(value) for value in row] for row in answer.rows],
        "truncated": answer.truncated,
    }
    return json.dumps(page, default=_plain, ensure_ascii=False, allow_nan=False) + "\n"


def as_markdown(answer: Answer) -> str:
    """A GitHub table."""
    cells = [list(answer.names), *([short(value) for value in row] for row in answer.rows)]
    lines = [[printable(_markdown(text)) for text in line] for line in cells]
    lines.insert(1, ["---"] * len(answer.names))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown(text: str) -> str:
    """Text that stays in its cell, and is no HTML, link or picture."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


def print_table(answer: Answer, console: Console) -> None:
    """Print a table, or a card for each row if the columns do not fit side by side."""
    numeric = [kind in _NUMERIC for kind in answer.types]
    names = [printable(name) for name in answer.names]  # the column names of a PIVOT are data
    shown = [[short(value) for value in row] for row in answer.rows]
    if shown and not _fits(names, shown, numeric, console.width):
        for texts in shown:
            console.print(_card(names, texts))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, number in zip(names, numeric, strict=True):
        # A number is never folded: a reader would take its pieces for two numbers.
        table.add_column(escape(name), justify="right" if number else "left", overflow="fold", no_wrap=number)
    for texts in shown:
        table.add_row(*map(escape, texts))
    console.print(table)
    if not shown:
        console.print("(no rows)", style="dim")


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
    """A value for a person: six digits, a dot for NULL, the head of a long list."""
    if value is None:
        return "·"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, list | tuple):  # a tuple is an array of fixed length
        shown = ", ".join(short(item) for item in value[:_LIST_ITEMS])
        return f"[{shown}{', …' if len(value) > _LIST_ITEMS else ''}]"
    return printable(str(value))


def _card(names: list[str], texts: list[str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in zip(names, texts, strict=True):
        table.add_row(escape(name), escape(text))
    table.add_row("", "")
    return table


def _distinct(names: list[str]) -> list[str]:
    taken, counts = set(names), Counter[str]()
    distinct: list[str] = []
    for name in names:
        other = name
        while counts[name] and other in taken:  # of a name that came before
            other = f"{name}_{counts[name]}"
            counts[name] += 1
        counts[name] += not counts[name]
        taken.add(other)
        distinct.append(other)
    return distinct


def json_value(value: Any) -> Any:  # Any: whatever SQL returns
    """A value for JSON: NaN and infinity become null, integers beyond 2^53 text.

    JavaScript and jq read every number as a double, which would merge different values of row_hash.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) > _EXACT:
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): json_value(item) for name, item in value.items()}
    return value


def _escaped(text: str) -> str:
    """JSON with its control and direction characters, which occur only in strings, escaped."""
    return "".join(char if char.isprintable() or char == "\n" else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    """As \\uXXXX: two of them if the character needs more than 16 bits."""
    return json.dumps(char)[1:-1]


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return _escaped(json.dumps(value, default=_plain, ensure_ascii=False))
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
