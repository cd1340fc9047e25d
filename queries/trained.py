"""Training runs for a person: one run's figures as a table and as a picture, a sweep as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from catalog.read import Answer
from queries.courses import courses
from queries.render import print_table
from survey.results import TrainingRow

if TYPE_CHECKING:
    import altair as alt

_COURSES = {
    "loss": "loss",
    "dead_grad_norm": "dead grad",
    "live_dead_ratio": "live/dead",
    "coherence": "coherence",
    "hidden_cosine": "cos(grad, h)",
    "centroid_angle_deg": "angle °",
    "centroid_norm": "‖centroid‖",
    "mean_radius": "radius",
}


def print_run(row: TrainingRow, console: Console) -> None:
    """Print a run and its figures at the chosen steps."""
    speed = "" if row.steps_per_s is None else f"; {row.steps_per_s:.1f} steps/s"
    console.print(
        f"[bold]{row.setup}[/] {row.run}: {row.layers} layers, D {row.dim}, {row.vocabulary:,} tokens, "
        f"{row.dead_count:,} of them dead; {row.precision}{speed}"
    )
    rows = [(step, *(getattr(row, name)[place] for name in _COURSES)) for place, step in enumerate(row.steps)]
    print_table(Answer(["step", *_COURSES.values()], ["BIGINT", *["DOUBLE"] * len(_COURSES)], rows), console)


def run_chart(row: TrainingRow) -> alt.VConcatChart:
    """Loss; what pushes a live and a dead row; the angle between the two clouds' centroids."""
    import altair as alt

    pushes = {"live rows": row.live_grad_norm, "dead rows": row.dead_grad_norm}
    chart: alt.VConcatChart = alt.vconcat(
        courses("loss", row.steps, {"loss": row.loss}, log_steps=True),
        courses("‖gradient‖ of a row", row.steps, pushes, log=True, log_steps=True),
        courses("dead–live angle, °", row.steps, {"angle": row.centroid_angle_deg}, log_steps=True),
        title=f"{row.setup}: {row.dead_count:,} of {row.vocabulary:,} tokens never occur",
    ).resolve_scale(color="independent")
    return chart


def print_sweep(
    rows: Sequence[TrainingRow], options: Sequence[Mapping[str, object]], console: Console
) -> None:
    """Print a line for each run: the options that differ, the first step, the end.

    options: of each row, what differs among the runs, by name.
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
