"""Line charts over the steps of a training run: the parts of the pictures of single results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import altair as alt

COLOURS = ("#3d7ea6", "#d1495b")
DRAWN = 250  # points of a line: with more, noise becomes a band, and the PNG takes 150 kB
FEW = 20  # lines of at most so many points mark each

Line = Sequence[float | None]


def line_chart(
    title: str,
    steps: Sequence[int],
    series: Mapping[str, Line],
    *,
    log: bool = False,
    log_steps: bool = False,
) -> alt.Chart:
    """A line for each named series. log, log_steps: logarithmic axes of values and of steps."""
    import altair as alt

    picked = range(0, len(steps), max(1, math.ceil(len(steps) / DRAWN)))
    points = [
        {"step": steps[at], "value": values[at], "of": name}
        for name, values in series.items()
        for at in picked
        if values[at] is not None and (not log or values[at])  # a logarithmic axis has no zero
    ]
    data = alt.Data(values=points)
    # Short labels with padding beside them: in a wider font they would reach into the title.
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
