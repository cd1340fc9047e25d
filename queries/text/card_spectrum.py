"""The spectrum on a card: its figures, of all rows and of the live ones, beside the medians of its family."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from queries.scree import ALL_ROWS, FIGURES, LIVE_ROWS, BesideFamily
from queries.text.render import short
from survey.errors import printable


def print_card_spectrum(spectra: BesideFamily, console: Console) -> None:
    """Print the figures of a matrix that has a spectrum."""
    model, family = spectra.model, spectra.family
    assert model is not None
    columns = {ALL_ROWS: "", LIVE_ROWS: "live_"} if model.live_rows != model.finite_rows else {ALL_ROWS: ""}
    table = Table(box=None, pad_edge=False, title="spectrum", title_justify="left")
    table.add_column("", style="cyan", no_wrap=True)
    for name in (*columns, *([] if family is None else [family.title])):
        table.add_column(escape(printable(name)), justify="right", no_wrap=True)
    for name, label in FIGURES.items():
        values = [model.figures[prefix + name] for prefix in columns.values()]
        values += [] if family is None else [family.figures[name]]
        table.add_row(label, *map(short, values))
    console.print(table)
