"""Answers for programs: CSV, JSON, Markdown, as text that is made piece by piece."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Any

from catalog.read.pieces import Pieces
from catalog.read.reader import Answer
from queries.text.render import short
from survey.errors import printable

# How text begins that spreadsheets run: a sign, of full width too, behind what they skip or a separator of
# theirs that is none of ours. A semicolon is one wherever numbers have a decimal comma.
_FORMULA = re.compile(r"(?:^|(?<=[;\t\r\n]))(?=\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]|[\t\r])")
_SEPARATOR = re.compile(r"[;\t\r\n]")
_EXACT = 2**53  # programs that read JSON numbers as doubles round larger integers


def csv_text(pieces: Pieces) -> Iterator[str]:
    """RFC 4180 for files and pipes: lists and structs as JSON, NULL empty, text unchanged."""
    return _csv(pieces, lambda text: text)


def terminal_csv_text(pieces: Pieces) -> Iterator[str]:
    """The same for a terminal, which would obey control and direction characters: they are escaped."""
    return _csv(pieces, printable)


def json_text(pieces: Pieces) -> Iterator[str]:
    """A list of objects. Repeated column names get numbers; NaN and infinity become null."""
    names, before = _distinct(list(pieces.names)), "["
    for piece in pieces.rows:
        rows = [dict(zip(names, map(json_value, row), strict=True)) for row in piece]
        text = json.dumps(rows, default=_plain, ensure_ascii=False, allow_nan=False, indent=1)
        if rows:
            yield before + _escaped(text[1:-2])
            before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def markdown_text(pieces: Pieces) -> Iterator[str]:
    """A GitHub table."""
    yield _markdown_line(pieces.names) + _markdown_line(["---"] * len(pieces.names))
    for piece in pieces.rows:
        yield "".join(_markdown_line([short(value) for value in row]) for row in piece)


FORMS: Mapping[str, Callable[[Pieces], Iterator[str]]] = {
    "csv": csv_text,
    "json": json_text,
    "md": markdown_text,
}


def as_markdown(answer: Answer) -> str:
    """All of `markdown_text`."""
    return "".join(markdown_text(whole(answer)))


def as_download_csv(answer: Answer) -> str:
    """CSV for a spreadsheet: an apostrophe stands before text that it would run as a formula."""
    return "".join(_csv(whole(answer), lambda text: _FORMULA.sub("'", text)))


def whole(answer: Answer) -> Pieces:
    """An answer that is in memory, as one piece."""
    return Pieces(answer.names, answer.types, iter([answer.rows]))


def formulas(rows: Iterable[Sequence[Any]]) -> int:
    """The number of cells that a spreadsheet would run if it opened the CSV. The names are a row, too."""
    cells = (value for row in rows for value in row)
    return sum(isinstance(cell := _cell(value), str) and _is_formula(cell) for value in cells)


def _is_formula(text: str) -> bool:
    if _SEPARATOR.search(text) is None:  # 20 times as fast as the search for formulas at each place
        return _FORMULA.match(text) is not None
    return _FORMULA.search(text) is not None


def _csv(pieces: Pieces, shown: Callable[[str], str]) -> Iterator[str]:
    for rows in chain([[pieces.names]], pieces.rows):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for row in rows:
            cells = [_cell(value) for value in row]
            writer.writerow([shown(cell) if isinstance(cell, str) else cell for cell in cells])
        yield out.getvalue()


def as_page_json(answer: Answer) -> str:
    """Columns, types and rows as separate lists, for pages; `truncated` if there are more rows."""
    page = {
        "columns": answer.names,
        "types": answer.types,
        "rows": [[json_value(value) for value in row] for row in answer.rows],
        "truncated": answer.truncated,
    }
    return json.dumps(page, default=_plain, ensure_ascii=False, allow_nan=False) + "\n"


def _markdown_line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(printable(_markdown(text)) for text in texts)} |\n"


def _markdown(text: str) -> str:
    """Text that stays in its cell, and is no HTML, link or picture."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


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
