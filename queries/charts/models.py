"""Charts with a point for each model, as Vega-Lite: how far off-centre, how far the dead rows turn away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

import altair as alt

from queries.charts.theme import chart_data

_SCHEME: Literal["tableau20"] = "tableau20"
_BELOW_ZERO = -4  # the height of models that have no angle
_LABEL_AT = 0.96  # of the reach: spokes end there, and their names stand above


@dataclass(frozen=True, slots=True)
class ModelPoint:
    """One model in the charts that compare models.

    ratio: centroid length / mean row length. angle: degrees between the dead and the live centroid; None if
    no row is dead. dead: rows. relative: length of the dead centroid, the live one's being 1. card: a link.
    """

    repo: str
    family: str
    ratio: float
    angle: float | None
    dead: int
    relative: float | None
    card: str


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
        "color": _family(_families(points)),
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
            color=_family(families, legend=False),
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
    layers = [*_polar_grid(x, y, reach), *_rays(x, y, rays, _family(_families(points)))]
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


def _scatter_tooltips() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("repo:N", title="model"),
        alt.Tooltip("family:N"),
        alt.Tooltip("ratio:Q", format=".4f", title="centroid ratio"),
        alt.Tooltip("angle:Q", format=".1f", title="dead–live angle °"),
        alt.Tooltip("dead:Q", format=",", title="dead rows"),
    ]


def _polar(length: float, angle: float) -> dict[str, float]:
    return {"x": length * math.cos(math.radians(angle)), "y": length * math.sin(math.radians(angle))}


def _family(families: Sequence[str], *, legend: bool = True) -> alt.Color:
    """The colour of a family: the same in every chart of a page."""
    scale = alt.Scale(scheme=_SCHEME, domain=sorted(families))
    return alt.Color("family:N", scale=scale, title=None, legend=alt.Undefined if legend else None)


def _families(points: Sequence[ModelPoint]) -> list[str]:
    return sorted({point.family for point in points})
