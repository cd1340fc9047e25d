"""A point for each model: how far off-centre it is, against how far its dead rows turn away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import altair as alt

from queries.drawing.model_points import ModelPoint, families_of, family_colour
from queries.drawing.theme import chart_data

_BELOW_ZERO = -4  # the height of models that have no angle


def models_scatter(points: Sequence[ModelPoint]) -> alt.LayerChart | alt.FacetChart:
    """Centroid ratio against the angle between dead and live centroid; a click opens the card.

    Models without an angle are ticks below zero.
    """
    ratio = alt.X("ratio:Q", title="centroid length / mean row length", scale=alt.Scale(zero=True))
    angle = alt.Y(
        "angle:Q",
        title="angle between dead and live centroid, degrees",
        scale=alt.Scale(domainMin=-6, nice=False),
    )
    dead = alt.Size("dead:Q", title="dead rows", scale=alt.Scale(type="sqrt", range=[30, 600]))
    turned = [point for point in points if point.angle is not None]
    without = [{**asdict(point), "below": _BELOW_ZERO} for point in points if point.angle is None]
    common: dict[str, Any] = {
        "color": family_colour(families_of(points)),
        "href": "card:N",
        "tooltip": _scatter_tooltips(),
    }
    layers = []  # a layer without data would warn in the console
    if turned:
        circles = alt.Chart(chart_data(turned)).mark_circle(opacity=0.75, cursor="pointer")
        layers.append(circles.encode(x=ratio, y=angle, size=dead, **common))
    if without:
        ticks = alt.Chart(chart_data(without)).mark_tick(thickness=2, size=10, cursor="pointer")
        layers.append(ticks.encode(x=ratio, y="below:Q" if turned else alt.Y("below:Q", axis=None), **common))
    return alt.layer(*layers).properties(width="container", height=380 if turned else 60)


def _scatter_tooltips() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("repo:N", title="model"),
        alt.Tooltip("family:N"),
        alt.Tooltip("ratio:Q", format=".4f", title="centroid ratio"),
        alt.Tooltip("angle:Q", format=".1f", title="dead–live angle °"),
        alt.Tooltip("dead:Q", format=",", title="dead rows"),
    ]


def any_scatter(points: str, families: Sequence[str]) -> alt.Chart:
    """Models by two figures that the page's reader chooses. points: the name of the data, with x and y."""
    scale = alt.Scale(zero=False)
    return (
        alt.Chart(chart_data(points))
        .mark_circle(opacity=0.75, cursor="pointer")
        .encode(
            x=alt.X("x:Q", title="", scale=scale),
            y=alt.Y("y:Q", title="", scale=scale),
            size=alt.Size("dead:Q", title="dead rows", scale=alt.Scale(type="sqrt", range=[30, 600])),
            color=family_colour(families),
            href="card:N",
            tooltip=[
                alt.Tooltip("repo:N", title="model"),
                alt.Tooltip("family:N"),
                alt.Tooltip("x:Q", format=".4g"),
                alt.Tooltip("y:Q", format=".4g"),
                alt.Tooltip("dead:Q", format=",", title="dead rows"),
            ],
        )
        .properties(width="container", height=380)
    )
