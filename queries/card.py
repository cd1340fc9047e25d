"""One model's card: who it is, its numbers with units, its black holes, its failures."""

from __future__ import annotations

import difflib

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from catalog.read import Answer, Reader
from catalog.schema import row_columns
from queries.render import short
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
_HOLES = 12


def print_card(reader: Reader, model: str, console: Console) -> None:
    """Print the card of every matrix of a model: `repo`, or `repo@` a revision or commit.

    Raises UsageError where the catalog does not hold it, naming the nearest.
    """
    question, parameters = card_rows(reader, model)
    found = reader.ask(question, parameters)
    repo = parameters["repo"]
    failures = reader.ask(
        "SELECT finished_at, reason, message FROM attempts WHERE repo = $repo "
        "AND status = 'failed' ORDER BY finished_at DESC LIMIT 5",
        {"repo": repo},
    )
    if not found.rows and not failures.rows:
        raise UsageError(not_there(reader, model))
    for row in found.rows:
        _print_row(reader, dict(zip(found.names, row, strict=True)), console)
    if not found.rows:
        console.print(f"[bold]{escape(printable(model))}[/] has not been measured")
    if failures.rows:
        _print_failures(failures, console)


def card_rows(reader: Reader, model: str) -> tuple[str, dict[str, str]]:
    """The question for a model's rows, and its parameters: as it is now, or at a revision or commit."""
    repo, revision = _asked(reader, model)
    return (
        "SELECT * FROM models_history WHERE repo = $repo AND CASE WHEN $revision = '' "
        # Where only patterns were asked for, no row is the current one.
        "THEN (sha, matrix) IN (SELECT (sha, matrix) FROM models WHERE repo = $repo) "
        "OR NOT EXISTS (FROM models WHERE repo = $repo) "
        "ELSE list_contains(revisions, $revision) OR starts_with(sha, $revision) END "
        "ORDER BY measured_at DESC, sha, matrix",
        {"repo": repo, "revision": revision},
    )


def _asked(reader: Reader, model: str) -> tuple[str, str]:
    """Repository and revision; a folder's name may hold an @, so the whole text is tried first."""
    known = reader.ask(
        "SELECT 1 FROM measured_rows WHERE repo = $repo "
        "UNION ALL SELECT 1 FROM attempts WHERE repo = $repo LIMIT 1",
        {"repo": model},
    )
    repo, _, revision = (model, "", "") if known.rows else model.partition("@")
    return repo, revision


def _print_row(reader: Reader, row: dict[str, object], console: Console) -> None:
    units = {column.name: column.unit for column in row_columns()}
    title = f"{row['repo']}@{row['revision']}"
    console.print(f"\n[bold]{escape(printable(title))}[/]")
    for heading, names in _GROUPS:
        table = Table(box=None, show_header=False, pad_edge=False, title=heading, title_justify="left")
        table.add_column(min_width=22, style="cyan")
        table.add_column(overflow="fold")
        for name in names:
            unit = units[name] if row[name] is not None else ""
            shown = short(row[name])
            if unit == "bytes" and isinstance(row[name], int):
                shown, unit = f"{row[name]:,}", "bytes"
            table.add_row(name, escape(f"{shown} {unit}".strip()))
        console.print(table)
    _print_holes(reader, row, console)


def _print_holes(reader: Reader, row: dict[str, object], console: Console) -> None:
    holes = reader.ask(
        "SELECT rank, population, norm, angle_to_live_deg, token_ids, texts FROM black_holes "
        "WHERE repo = $repo AND sha = $sha AND matrix = $matrix ORDER BY rank",
        {name: row[name] for name in ("repo", "sha", "matrix")},
    )
    if not holes.rows:
        return
    table = Table(box=None, pad_edge=False, title="black holes", title_justify="left")
    for name in ("rank", "population", "norm", "angle to live °"):
        table.add_column(name, justify="right")
    table.add_column("token ids", overflow="ellipsis", no_wrap=True)
    table.add_column("texts", overflow="ellipsis", no_wrap=True)
    for *line, texts in holes.rows[:_HOLES]:
        shown = "·" if texts is None else " ".join(f'"{printable(text)}"' for text in texts)
        table.add_row(*(short(value) for value in line), escape(shown))
    console.print(table)
    if len(holes.rows) > _HOLES:
        console.print(f"… and {len(holes.rows) - _HOLES} smaller ones", style="dim")


def _print_failures(failures: Answer, console: Console) -> None:
    console.print("\n[bold]failed attempts[/]")
    for finished_at, reason, message in failures.rows:
        console.print(f"  {short(finished_at)}  [red]{reason}[/]  {escape(printable(message or ''))}")


def not_there(reader: Reader, model: str) -> str:
    """What to say of a model that the catalog does not hold: the nearest names."""
    known = [str(row[0]) for row in reader.ask("SELECT DISTINCT repo FROM models_history").rows]
    near = difflib.get_close_matches(model, known, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    listing = 'survey sql "SELECT repo FROM models_history"'
    return f"{printable(model)} is not in the catalog{hint} (`{listing}` lists it)"
