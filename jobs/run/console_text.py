"""Text for people on a console: plain tables, and paragraphs below a name."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_INDENT = 4
_NUMERIC = {"holes", "dead", "ratio", "angle °", "fetched", "s", "read", "of", "memory", "V × D"}


def table_width(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Characters that a table takes if nothing in it is folded."""
    widths = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    return sum(widths) + 2 * (len(widths) - 1)


def print_indented(text: str, console: Console, style: str = "") -> None:
    """A paragraph below a name; all of its lines are indented, so that the next name stands out."""
    if not console.is_terminal:  # a program may read it: nothing is wrapped
        console.print(Text(f"{' ' * _INDENT}{text}", style), soft_wrap=True)
        return
    for line in Text(text, style).wrap(console, max(console.width - _INDENT, _INDENT)):
        line.rstrip()
        console.print(Text(" " * _INDENT).append_text(line))


def plain_table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        right = name in _NUMERIC
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table
