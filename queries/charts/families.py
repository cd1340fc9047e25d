"""How far off-centre the models of each family are: a tick for each model, and the median."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import altair as alt

from queries.drawing.model_points import ModelPoint, family_colour
from queries.drawing.theme import chart_data


def family_ratios(points: Sequence[ModelPoint]) -> alt.LayerChart:
    """The centroid ratios of each family's models, with the median."""
    ratios_of: dict[str, list[float]] = {}
    for point in points:
        ratios_of.setdefault(point.family, []).append(point.ratio)
    medians = {family: median(ratios) for family, ratios in ratios_of.items()}
    families = sorted(medians, key=lambda family: (-medians[family], family))
    row = alt.Y("family:N", title=None, sort=families)
    ratio = alt.X("ratio:Q", title="centroid length / mean row length")
    ticks = (
        alt.Chart(chart_data(points))
        .mark_tick(thickness=2, opacity=0.6, cursor="pointer")
        .encode(
            x=ratio,
            y=row,
            color=family_colour(families, legend=False),
            href="card:N",
            tooltip=["repo:N", alt.Tooltip("ratio:Q", format=".4f")],
        )
    )
    diamonds = (
        alt.Chart(chart_data([{"family": family, "ratio": medians[family]} for family in families]))
        .mark_point(shape="diamond", size=70, filled=True, color="currentColor")
        .encode(x=ratio, y=row)
    )
    return (ticks + diamonds).properties(width="container", height=22 * len(families))
