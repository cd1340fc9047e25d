"""The direction and length of each model's dead centroid, measured by its live one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import altair as alt

from queries.drawing.model_points import ModelPoint, families_of, family_colour
from queries.drawing.theme import chart_data

_LABEL_AT = 0.96  # of the reach: spokes end there, and their names stand above


def angles_polar(points: Sequence[ModelPoint]) -> alt.LayerChart | alt.FacetChart:
    """Direction and length of each dead centroid; the live one points right and has length 1.

    Models without an angle or a length are left out.
    """
    rays = [
        {**asdict(point), **_polar(point.relative, point.angle)}
        for point in points
        if point.angle is not None and point.relative is not None
    ]
    reach = max([1.2, *(1.05 * ray["relative"] for ray in rays)])
    none: Any = None  # no axes: rings and spokes stand for them
    x = alt.X("x:Q", axis=none, scale=alt.Scale(domain=[-reach, reach]))
    y = alt.Y("y:Q", axis=none, scale=alt.Scale(domain=[-0.12 * reach, reach]))
    layers = [*_polar_grid(x, y, reach), *_rays(x, y, rays, family_colour(families_of(points)))]
    return alt.layer(*layers).properties(width=600, height=336)


def _polar_grid(x: alt.X, y: alt.Y, reach: float) -> list[alt.Chart]:
    """Rings at half and at full length, a spoke every 30°, and their names."""
    rings = [
        {"ring": ring, "order": angle, **_polar(ring, angle)}
        for ring in (0.5, 1.0)
        for angle in range(0, 181, 4)
    ]
    spokes = [
        {"spoke": f"{angle}°", "outer": outer, **_polar(outer * _LABEL_AT * reach, angle)}
        for angle in range(0, 181, 30)
        for outer in (0, 1)
    ]
    names = [spoke for spoke in spokes if spoke["outer"]] + [{"spoke": "live = 1", **_polar(1.0, -4)}]
    quiet: dict[str, Any] = {"color": "currentColor", "opacity": 0.25}
    return [
        alt.Chart(chart_data(rings)).mark_line(**quiet).encode(x=x, y=y, detail="ring:N", order="order:Q"),
        alt.Chart(chart_data(spokes)).mark_line(**quiet).encode(x=x, y=y, detail="spoke:N"),
        alt.Chart(chart_data(names)).mark_text(color="currentColor", dy=-8).encode(x=x, y=y, text="spoke:N"),
    ]


def _rays(x: alt.X, y: alt.Y, rays: Sequence[dict[str, Any]], colour: alt.Color) -> list[alt.Chart]:
    """A line from the origin for each model, with a circle at its end."""
    from_origin = [{**ray, "zero": 0} for ray in rays]
    return [
        alt.Chart(chart_data(from_origin))
        .mark_rule(opacity=0.6)
        .encode(x=x, y=y, x2="zero:Q", y2="zero:Q", color=colour),
        alt.Chart(chart_data(rays))
        .mark_circle(size=60, cursor="pointer")
        .encode(
            x=x,
            y=y,
            color=colour,
            href="card:N",
            tooltip=[
                "repo:N",
                alt.Tooltip("angle:Q", format=".1f", title="angle °"),
                alt.Tooltip("relative:Q", format=".3f", title="‖dead‖ / ‖live‖"),
            ],
        ),
    ]


def _polar(length: float, angle: float) -> dict[str, float]:
    return {"x": length * math.cos(math.radians(angle)), "y": length * math.sin(math.radians(angle))}
