"""A spectrum for a person: its figures, of all rows and of the live ones, and the directions with tokens."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from queries.scree import FIGURES
from queries.text.render import short
from survey.errors import printable
from survey.records.results import Direction, SpectrumRow

ENDS = 5  # at each end of a direction


def print_spectrum(row: SpectrumRow, texts: Sequence[str | None] | None, console: Console) -> None:
    """Print the figures and the directions. texts: of every row; None if no tokenizer names them."""
    console.print(f"[bold]{escape(printable(f'{row.repo}@{row.revision}'))}[/]")
    console.print(f"{row.matrix} {row.vocab_rows:,} × {row.hidden_dim:,} {row.dtype}, {row.device}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column(f"all {row.finite_rows:,} rows", justify="right", no_wrap=True)
    table.add_column(f"{row.live_rows:,} live rows", justify="right", no_wrap=True)
    for name, label in FIGURES.items():
        table.add_row(label, short(getattr(row, name)), short(getattr(row, f"live_{name}")))
    console.print(table)
    for direction in row.directions or ():
        _print_direction(direction, texts, console)


def _print_direction(direction: Direction, texts: Sequence[str | None] | None, console: Console) -> None:
    share = "" if direction.variance_share is None else f", {direction.variance_share:.1%} of the variance"
    angle = direction.centroid_angle_deg
    console.print(
        f"[bold]component {direction.number}[/]{share}"
        + ("" if angle is None else f", {angle:.0f}° from the centroid")
    )
    for sign, ids in (("−", direction.low_ids), ("+", direction.high_ids)):
        named = "  ".join(_named(token_id, texts) for token_id in ids[:ENDS])
        console.print(f"  {sign} {escape(named)}", highlight=False)


def _named(token_id: int, texts: Sequence[str | None] | None) -> str:
    text = None if texts is None or token_id >= len(texts) else texts[token_id]
    return str(token_id) if text is None else f"{token_id} {printable(repr(text))}"
