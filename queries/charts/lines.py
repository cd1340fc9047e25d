"""Values over the steps of a training run, as lines: what the pictures of single results are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import altair as alt

COLOURS = ("#3d7ea6", "#d1495b")
DRAWN = 250  # points of a line: a finer line of noise is a band, and a PNG of it 150 kB
FEW = 20  # points up to which each is marked

Line = Sequence[float | None]


def line_chart(
    title: str,
    steps: Sequence[int],
    series: Mapping[str, Line],
    *,
    log: bool = False,
    log_steps: bool = False,
) -> alt.Chart:
    """A line for each series, by its name."""
    import altair as alt

    picked = range(0, len(steps), max(1, math.ceil(len(steps) / DRAWN)))
    points = [
        {"step": steps[at], "value": values[at], "of": name}
        for name, values in series.items()
        for at in picked
        if values[at] is not None and (not log or values[at])  # a logarithmic axis has no place for zero
    ]
    data = alt.Data(values=points)  # type: ignore[no-untyped-call]  # as Altair wrote it
    # Short labels, and room beside them: where a font is wider, they would reach into the title.
    axis = alt.Axis(format=".0e", titlePadding=16) if log else alt.Axis(titlePadding=16)
    upwards = alt.Scale(type="log") if log else alt.Scale(zero=False)
    along = alt.Scale(type="log" if log_steps else "linear", domain=[steps[0], steps[-1]], nice=False)
    drawn: alt.Chart = (
        alt.Chart(data, width=520, height=130)
        .mark_line(strokeWidth=1.5, point=len(picked) <= FEW)
        .encode(
            x=alt.X("step:Q", title="step", scale=along),
            y=alt.Y("value:Q", title=title, scale=upwards, axis=axis),
            color=alt.Color(
                "of:N",
                title=None,
                scale=alt.Scale(domain=list(series), range=COLOURS[: len(series)]),
                legend=alt.Legend(orient="top") if len(series) > 1 else None,
            ),
        )
    )
    return drawn
