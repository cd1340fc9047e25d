"""Training runs for a person: tables of one run and of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from catalog.read.reader import Answer
from queries.charts.training import COURSES
from queries.text.render import print_table
from survey.records.results import TrainingRow


def print_run(row: TrainingRow, console: Console) -> None:
    """Print a run and its figures at the chosen steps."""
    speed = "" if row.steps_per_s is None else f"; {row.steps_per_s:.1f} steps/s"
    console.print(
        f"[bold]{row.setup}[/] {row.run}: {row.layers} layers, D {row.dim}, {row.vocabulary:,} tokens, "
        f"{row.dead_count:,} of them dead; {row.precision}{speed}"
    )
    rows = [(step, *(getattr(row, name)[index] for name in COURSES)) for index, step in enumerate(row.steps)]
    print_table(Answer(["step", *COURSES.values()], ["BIGINT", *["DOUBLE"] * len(COURSES)], rows), console)


def print_sweep(
    rows: Sequence[TrainingRow], options: Sequence[Mapping[str, object]], console: Console
) -> None:
    """Print a line for each run: the options that differ, the first step, the end.

    options: for each row, the options that differ among the runs, by name.
    """
    varied = list(options[0]) if options else []
    names = [
        *varied,
        "dead grad 1",
        "live/dead 1",
        "coherence 1",
        "cos(grad, h) 1",
        "loss",
        "‖centroid‖",
        "steps/s",
    ]
    shown = [
        (
            *(given[name] for name in varied),
            row.dead_grad_norm[0],
            row.live_dead_ratio[0],
            row.coherence[0],
            row.hidden_cosine[0],
            row.loss_last,
            row.centroid_norm[-1],
            row.steps_per_s,
        )
        for row, given in zip(rows, options, strict=True)
    ]
    kinds = ["VARCHAR"] * len(varied) + ["DOUBLE"] * 7
    print_table(Answer(names, kinds, shown), console)
