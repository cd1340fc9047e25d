"""One model's card: its figures with units, its histograms, its black holes, its failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog.read.reader import Answer, Reader
from catalog.schema_of_records import row_columns
from queries.histograms import NORM_BARS, NORM_STEP, Histograms, ModelKey, histograms, sparkline
from queries.scree import BesideFamily, spectra_beside_families
from queries.text.card_facts import FACT_GROUPS
from queries.text.card_spectrum import print_card_spectrum
from queries.text.model_rows import MODEL_ROWS, missing_model
from queries.text.render import short
from survey.errors import UsageError, printable

_Row = Mapping[str, Any]  # Any: a value of a column
SHOWN_HOLES = 12
TWO_ABREAST = 80  # characters in which two figures stand side by side
_FAILURES = """
select finished_at, reason, message
from attempts
where repo = (select name from requested_model($model)) and status = 'failed'
order by finished_at desc
limit 5
"""
_BLACK_HOLES = """
select rank, population, norm, angle_to_live_deg, token_ids, texts
from black_holes
where repo = $repo and sha = $sha and matrix = $matrix
order by rank
"""


def print_card(reader: Reader, model: str, console: Console) -> None:
    """Print the card of every matrix of a model: `repo`, or `repo@` a revision or commit.

    Raises UsageError if the catalog does not hold the model, naming the nearest.
    """
    rows = _rows(reader, model)
    failures = reader.ask(_FAILURES, {"model": model})
    if not rows and not failures.rows:
        raise UsageError(missing_model(reader, model))
    drawn, spectra = histograms(reader, [_key(row) for row in rows]), spectra_beside_families(reader, rows)
    for row, spectrum in zip(rows, spectra, strict=True):
        _print_row(reader, row, drawn[_key(row)], spectrum, console)
    if not rows:
        console.print(f"[bold]{escape(printable(model))}[/] has not been measured")
    if failures.rows:
        _print_failures(failures, console)


def save_card(reader: Reader, model: str, path: Path) -> None:
    """Draw a model's histograms: PNG, SVG, or HTML that holds what draws it.

    Raises UsageError if the catalog does not hold the model, or if the picture cannot be written.
    """
    from queries.charts.card import HistogramPanel, card_chart
    from queries.drawing.picture_files import save_picture

    rows = _rows(reader, model)
    if not rows:
        raise UsageError(missing_model(reader, model))
    drawn, spectra = histograms(reader, [_key(row) for row in rows]), spectra_beside_families(reader, rows)
    panels = [
        HistogramPanel(
            printable(f"{row['repo']}@{row['revision']}, {row['matrix']}"),
            _summary(row),
            drawn[_key(row)],
            spectrum.curves(),
        )
        for row, spectrum in zip(rows, spectra, strict=True)
    ]
    save_picture(card_chart(panels), path)


# Of a quantised matrix.
UPPER_BOUND = "rows that were nearly equal may have become equal, so dead_count is an upper bound"


def _rows(reader: Reader, model: str) -> list[_Row]:
    answer = reader.ask(MODEL_ROWS, {"model": model})
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def _key(row: _Row) -> ModelKey:
    return row["repo"], row["sha"], row["matrix"]


def _summary(row: _Row) -> str:
    angle = row["dead_live_angle_deg"]
    return (
        f"{row['vocab_rows'] or 0:,} × {row['hidden_dim'] or 0:,} {row['dtype']}, "
        f"{row['black_hole_count'] or 0:,} black holes of {row['dead_count'] or 0:,} rows, "
        f"centroid ratio {short(row['centroid_ratio'])}"
        + ("" if angle is None else f", dead–live angle {angle:.1f}°")
    )


def _print_row(reader: Reader, row: _Row, drawn: Histograms, spectra: BesideFamily, console: Console) -> None:
    units = {column.name: column.unit for column in row_columns()}
    title = f"{row['repo']}@{row['revision']}"
    console.print(f"\n[bold]{escape(printable(title))}[/]")
    if row["quantised"]:
        console.print(f"{printable(row['stored_as'])}: {UPPER_BOUND}", markup=False)
    abreast = 2 if console.width >= TWO_ABREAST else 1
    for heading, names in FACT_GROUPS:
        table = Table(box=None, show_header=False, pad_edge=False, title=heading, title_justify="left")
        for _ in range(abreast):
            table.add_column(min_width=22, style="cyan", no_wrap=True)
            table.add_column(overflow="fold", min_width=15)
        facts = [(name, _with_unit(row[name], units[name])) for name in names]
        lines = -(-len(facts) // abreast)
        for line in range(lines):
            table.add_row(*(text for fact in facts[line::lines] for text in fact))
        console.print(table)
    _print_histograms(drawn, console)
    if spectra.model is not None:
        print_card_spectrum(spectra, console)
    _print_holes(reader, row, console)


def _with_unit(value: object, unit: str) -> str:
    if value is None:
        return short(value)
    if unit == "bytes" and isinstance(value, int):
        return f"{value:,} bytes"
    return escape(f"{short(value)} {unit}".strip())


def _print_histograms(drawn: Histograms, console: Console) -> None:
    """Row norms and exponents, a character for each bar; its height is the logarithm of the count."""
    lines = [*_norm_lines(drawn), *_exponent_lines(drawn)]
    if not lines:
        return
    table = Table(box=None, show_header=False, pad_edge=False, title="histograms (log)", title_justify="left")
    table.add_column(min_width=22, style="cyan", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console.print(table)


def _norm_lines(drawn: Histograms) -> Sequence[tuple[str, str, str]]:
    if drawn.norms is None:
        return []
    widest = max(index for index, count in enumerate(drawn.norms) if count) + 1
    beyond = "" if widest <= NORM_BARS else " and beyond"
    reach = f"0 … {min(widest, NORM_BARS) * NORM_STEP:.2f} × median{beyond}"
    return [("row norms", sparkline(drawn.norms[:widest]), reach)]


def _exponent_lines(drawn: Histograms) -> Sequence[tuple[str, str, str]]:
    if drawn.exponents is None:
        return []
    first = drawn.exponents.first
    return [
        (f"exponents, {rows}", sparkline(counts), f"{first} … {first + len(counts) - 1}")
        for rows, counts in drawn.exponents.sides().items()
        if any(counts)
    ]


def _print_holes(reader: Reader, row: _Row, console: Console) -> None:
    holes = reader.ask(_BLACK_HOLES, {name: row[name] for name in ("repo", "sha", "matrix")})
    if not holes.rows:
        return
    table = Table(box=None, pad_edge=False, title="black holes", title_justify="left")
    for name in ("rank", "population", "norm", "angle to live °"):
        table.add_column(name, justify="right")
    table.add_column("token ids", overflow="ellipsis", no_wrap=True)
    table.add_column("texts", overflow="ellipsis", no_wrap=True)
    for *line, texts in holes.rows[:SHOWN_HOLES]:
        shown = "·" if texts is None else " ".join(f'"{short(text)}"' for text in texts)
        table.add_row(*(short(value) for value in line), escape(shown))
    console.print(table)
    if len(holes.rows) > SHOWN_HOLES:
        console.print(f"… and {len(holes.rows) - SHOWN_HOLES} smaller ones", style="dim")


def _print_failures(failures: Answer, console: Console) -> None:
    console.print("\n[bold]failed attempts[/]")
    for finished_at, reason, message in failures.rows:
        console.print(
            f"  {short(finished_at)}  [red]{escape(short(reason))}[/]  {escape(short(message or ''))}"
        )
