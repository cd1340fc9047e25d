"""The falling curve of singular values: of one matrix, its live rows, and the median of its family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import altair as alt

from queries.drawing.theme import DEAD, LIVE, chart_data
from queries.scree import ALL_ROWS, LIVE_ROWS, SHARES, Curve

CURVE_COLOURS = {ALL_ROWS: LIVE, LIVE_ROWS: DEAD}
FAMILY_COLOUR = "#a9a9a9"


def scree_points(curves: Mapping[str, Curve]) -> list[dict[str, object]]:
    """The points of curves, each read at SHARES. A family's line is broad, as others lie on it."""
    return [
        {"share": share, "value": value, "of": name, "width": 1.5 if name in CURVE_COLOURS else 5}
        for name, curve in curves.items()
        for share, value in zip(SHARES, curve, strict=True)
        if value and value > 0.0 and math.isfinite(value)  # a logarithmic axis has no zero
    ]


def scree_chart(points: Sequence[dict[str, object]] | str) -> alt.Chart:
    """σ_i / σ_1 over i / N, both on logarithmic axes. points: by value, or the name that a page uses."""
    names = [] if isinstance(points, str) else list(dict.fromkeys(str(point["of"]) for point in points))
    colours = alt.Scale(domain=names, range=[CURVE_COLOURS.get(name, FAMILY_COLOUR) for name in names])
    return (
        alt.Chart(chart_data(points))
        .mark_line()
        .encode(
            x=alt.X("share:Q", title="number / all singular values", scale=alt.Scale(type="log", nice=False)),
            y=alt.Y("value:Q", title="singular value / largest", scale=alt.Scale(type="log", nice=False)),
            color=alt.Color("of:N", title=None, sort=None, scale=colours),
            strokeWidth=alt.StrokeWidth("width:Q", scale=None, legend=None),
            tooltip=["of:N", alt.Tooltip("share:Q", format=".2%"), alt.Tooltip("value:Q", format=".4f")],
        )
        .properties(width="container", height=180)
    )
