"""One model's card: who it is, its numbers with units, its black holes, its failures."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog.read.reader import Answer, Reader
from catalog.schema import row_columns
from queries.histograms import (
    NORM_BARS,
    NORM_STEP,
    exponent_shares,
    histograms,
    norm_bars,
    sparkline,
)
from queries.text.render import short
from survey.errors import UsageError, printable

_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "identity",
        (
            "family", "architecture", "base_model", "sha", "matrix", "tensor", "file", "tied",
            "dtype", "vocab_rows", "hidden_dim", "last_modified",
        ),
    ),
    ("centroid", ("centroid_l2", "centroid_linf", "centroid_l1", "centroid_ratio")),
    (
        "row norms",
        (
            "token_norm_mean", "token_norm_median", "token_norm_std", "token_norm_min",
            "token_norm_p01", "token_norm_p99", "token_norm_max",
        ),
    ),
    (
        "dead rows",
        (
            "black_hole_count", "dead_count", "dead_fraction", "unique_rows", "zero_rows",
            "near_zero_rows", "nonfinite_rows", "dead_centroid_l2", "live_centroid_l2",
            "dead_live_angle_deg", "dead_live_distance",
        ),
    ),
    (
        "rows and tokens",
        (
            "tokenizer_file", "tokenizer_size", "added_tokens", "phantom_rows", "unreachable_rows",
            "frozen_rows", "undertrained_rows", "undertrained_contrast", "tokenizer_note",
        ),
    ),
    ("exponents", ("exponent_entropy_bits", "exponent_offset", "shared_exponent_dims")),
    (
        "measured",
        ("measured_at", "device", "fetched_bytes", "repo_bytes", "requests", "elapsed_s"),
    ),
)  # fmt: skip
FACTS = tuple(name for _, names in _GROUPS for name in names)
SHOWN_HOLES = 12
_ROWS = """
select *
from models_history
where repo = $repo and case
    -- If only patterns were asked for, no row is the current one.
    when $revision = '' then
        (sha, matrix) in (select (sha, matrix) from models where repo = $repo)
        or not exists (from models where repo = $repo)
    else list_contains(revisions, $revision) or starts_with(sha, $revision)
end
order by measured_at desc, sha, matrix
"""
_KNOWN = """
select 1 from measured_rows where repo = $repo
union all
select 1 from attempts where repo = $repo
limit 1
"""
_FAILURES = """
select finished_at, reason, message
from attempts
where repo = $repo and status = 'failed'
order by finished_at desc
limit 5
"""
_BLACK_HOLES = """
select rank, population, norm, angle_to_live_deg, token_ids, texts
from black_holes
where repo = $repo and sha = $sha and matrix = $matrix
order by rank
"""
_TWO_ABREAST = 80  # characters in which two facts stand side by side


def print_card(reader: Reader, model: str, console: Console) -> None:
    """Print the card of every matrix of a model: `repo`, or `repo@` a revision or commit.

    Raises UsageError where the catalog does not hold it, naming the nearest.
    """
    question, parameters = card_rows(reader, model)
    answer = reader.ask(question, parameters)
    failures = reader.ask(
        _FAILURES,
        {"repo": parameters["repo"]},
    )
    if not answer.rows and not failures.rows:
        raise UsageError(not_there(reader, model))
    for row in answer.rows:
        _print_row(reader, dict(zip(answer.names, row, strict=True)), console)
    if not answer.rows:
        console.print(f"[bold]{escape(printable(model))}[/] has not been measured")
    if failures.rows:
        _print_failures(failures, console)


def card_rows(reader: Reader, model: str) -> tuple[str, dict[str, str]]:
    """The question for a model's rows, and its parameters: as it is now, or at a revision or commit."""
    repo, revision = _asked(reader, model)
    return _ROWS, {"repo": repo, "revision": revision}


def _asked(reader: Reader, model: str) -> tuple[str, str]:
    """Repository and revision; a folder's name may hold an @, so the whole text is tried first."""
    known = reader.ask(_KNOWN, {"repo": model})
    repo, _, revision = (model, "", "") if known.rows else model.partition("@")
    return repo, revision


def _print_row(reader: Reader, row: dict[str, object], console: Console) -> None:
    units = {column.name: column.unit for column in row_columns()}
    title = f"{row['repo']}@{row['revision']}"
    console.print(f"\n[bold]{escape(printable(title))}[/]")
    abreast = 2 if console.width >= _TWO_ABREAST else 1
    for heading, names in _GROUPS:
        table = Table(box=None, show_header=False, pad_edge=False, title=heading, title_justify="left")
        for _ in range(abreast):
            table.add_column(min_width=22, style="cyan", no_wrap=True)
            table.add_column(overflow="fold", min_width=15)
        facts = [(name, _with_unit(row[name], units[name])) for name in names]
        lines = -(-len(facts) // abreast)
        for line in range(lines):
            table.add_row(*(text for fact in facts[line::lines] for text in fact))
        console.print(table)
    _print_histograms(reader, row, console)
    _print_holes(reader, row, console)


def _with_unit(value: object, unit: str) -> str:
    if value is None:
        return short(value)
    if unit == "bytes" and isinstance(value, int):
        return f"{value:,} bytes"
    return escape(f"{short(value)} {unit}".strip())


def _print_histograms(reader: Reader, row: dict[str, object], console: Console) -> None:
    """Row norms and exponents, a character for each bar; heights go by the logarithm of the counts."""
    key = (str(row["repo"]), str(row["sha"]), str(row["matrix"]))
    histogram = histograms(reader, key)
    lines: list[tuple[str, str, str]] = []
    if histogram.norms is not None:
        widest = max(at for at, count in enumerate(histogram.norms) if count) + 1
        beyond = "" if widest <= NORM_BARS else " and beyond"
        reach = f"0 … {min(widest, NORM_BARS) * NORM_STEP:.2f} × median{beyond}"
        lines.append(("row norms", sparkline(histogram.norms[:widest]), reach))
    if histogram.exponents is not None:
        first = histogram.exponents["first"]
        for rows in ("dead", "live"):
            counts = histogram.exponents[rows]
            if any(counts):
                lines.append(
                    (f"exponents, {rows}", sparkline(counts), f"{first} … {first + len(counts) - 1}")
                )
    if not lines:
        return
    table = Table(box=None, show_header=False, pad_edge=False, title="histograms (log)", title_justify="left")
    table.add_column(min_width=22, style="cyan", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console.print(table)


def save_card(reader: Reader, model: str, path: Path) -> None:
    """Draw a model's histograms: PNG, SVG, or HTML that holds what draws it.

    Raises UsageError where the catalog does not hold the model, or the picture cannot be written.
    """
    from queries.charts.picture_files import save_picture
    from queries.charts.report import card_chart

    answer = reader.ask(*card_rows(reader, model))
    if not answer.rows:
        raise UsageError(not_there(reader, model))
    rows = [dict(zip(answer.names, row, strict=True)) for row in answer.rows]
    cards = []
    for row in rows:
        known = histograms(reader, (row["repo"], row["sha"], row["matrix"]))
        title = f"{row['repo']}@{row['revision']}, {row['matrix']}"
        angle = row["dead_live_angle_deg"]
        facts = (
            f"{row['vocab_rows']:,} × {row['hidden_dim']:,} {row['dtype']}, "
            f"{row['black_hole_count']:,} black holes of {row['dead_count']:,} rows, "
            f"centroid ratio {short(row['centroid_ratio'])}"
            + ("" if angle is None else f", dead–live angle {angle:.1f}°")
        )
        norms = None if known.norms is None else norm_bars(known.norms)
        exponents = None if known.exponents is None else exponent_shares(known.exponents)
        cards.append((printable(title), facts, norms, exponents))
    save_picture(card_chart(cards), path)


def _print_holes(reader: Reader, row: dict[str, object], console: Console) -> None:
    holes = reader.ask(
        _BLACK_HOLES,
        {name: row[name] for name in ("repo", "sha", "matrix")},
    )
    if not holes.rows:
        return
    table = Table(box=None, pad_edge=False, title="black holes", title_justify="left")
    for name in ("rank", "population", "norm", "angle to live °"):
        table.add_column(name, justify="right")
    table.add_column("token ids", overflow="ellipsis", no_wrap=True)
    table.add_column("texts", overflow="ellipsis", no_wrap=True)
    for *line, texts in holes.rows[:SHOWN_HOLES]:
        shown = "·" if texts is None else " ".join(f'"{printable(text)}"' for text in texts)
        table.add_row(*(short(value) for value in line), escape(shown))
    console.print(table)
    if len(holes.rows) > SHOWN_HOLES:
        console.print(f"… and {len(holes.rows) - SHOWN_HOLES} smaller ones", style="dim")


def _print_failures(failures: Answer, console: Console) -> None:
    console.print("\n[bold]failed attempts[/]")
    for finished_at, reason, message in failures.rows:
        console.print(
            f"  {short(finished_at)}  [red]{escape(short(reason))}[/]  {escape(printable(message or ''))}"
        )


def not_there(reader: Reader, model: str) -> str:
    """What to say of a model that the catalog does not hold: the nearest names."""
    ((message,),) = reader.ask("select not_there($model)", {"model": model}).rows
    return printable(str(message))
