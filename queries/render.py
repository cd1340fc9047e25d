"""Answers as text: a table for people; CSV, JSON, Markdown and Parquet for programs."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog.read import Answer

FORMATS = ("table", "csv", "json", "md", "parquet")
_CARD_COLUMNS = 14  # more do not fit side by side, so each row becomes a card
_LIST_ITEMS = 6


def as_csv(answer: Answer) -> str:
    """RFC 4180; lists and structs as JSON, NULL empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.names)
    writer.writerows([_cell(value) for value in row] for row in answer.rows)
    return out.getvalue()


def as_json(answer: Answer) -> str:
    """A list of objects."""
    rows = [dict(zip(answer.names, row, strict=True)) for row in answer.rows]
    return json.dumps(rows, default=_plain, ensure_ascii=False, indent=1) + "\n"


def as_markdown(answer: Answer) -> str:
    """A GitHub table."""
    lines = [answer.names, ["---"] * len(answer.names)]
    lines += [[short(value).replace("|", "\\|") for value in row] for row in answer.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def print_table(answer: Answer, console: Console) -> None:
    """A table as wide as it needs, or a card for each row where it has many columns."""
    if len(answer.names) > _CARD_COLUMNS and answer.rows:
        for row in answer.rows:
            console.print(_card(answer.names, row))
        return
    numeric = {"BIGINT", "DOUBLE", "INTEGER", "UBIGINT", "FLOAT", "HUGEINT"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, kind in zip(answer.names, answer.types, strict=True):
        table.add_column(escape(name), justify="right" if kind in numeric else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(escape(short(value)) for value in row))
    console.print(table)
    if not answer.rows:
        console.print("(no rows)", style="dim")


def short(value: Any) -> str:  # Any: whatever SQL returns
    """A value for a person: six digits, a dot for NULL, the head of a long list."""
    if value is None:
        return "·"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, list):
        shown = ", ".join(short(item) for item in value[:_LIST_ITEMS])
        return f"[{shown}{', …' if len(value) > _LIST_ITEMS else ''}]"
    return printable(str(value))


def printable(text: str) -> str:
    """Text from outside without control and direction characters, which could fake output."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _card(names: list[str], row: tuple[Any, ...]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in zip(names, row, strict=True):
        table.add_row(escape(name), escape(short(value)))
    table.add_row("", "")
    return table


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
