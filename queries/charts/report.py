"""The charts of the survey, as Vega-Lite: the same ones in the report and in single pictures.

Each takes its data by value, or by the name under which a page has it. Colours of text are the
page's own (`currentColor`), so that they can be read on light and on dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal

import altair as alt

Values = Sequence[Mapping[str, Any]]
Data = Values | str  # rows, or the name of rows that a page holds

DEAD, LIVE = "#d1495b", "#3d7ea6"
_SCHEME: Literal["tableau20"] = "tableau20"


def theme(chart: alt.TopLevelMixin, ink: str = "currentColor") -> alt.TopLevelMixin:
    """No background, thin lines, text in the page's colour (or in `ink`, where no page is)."""
    text: dict[str, Any] = {"labelColor": ink, "titleColor": ink}
    return chart.configure(
        background="transparent",
        axis=alt.AxisConfig(
            **text, domainColor=ink, tickColor=ink, gridOpacity=0.15, gridColor=ink, titleFontWeight="normal"
        ),
        legend=alt.LegendConfig(**text, orient="bottom", columns=4, symbolLimit=40, symbolBaseFillColor=ink),
        title=alt.TitleConfig(color=ink, anchor="start", fontWeight="normal"),
        header=alt.HeaderConfig(**text),
        view=alt.ViewConfig(stroke="transparent"),
        font="system-ui, sans-serif",
    )


def models_scatter(points: Values) -> alt.LayerChart | alt.FacetChart:
    """Centroid ratio against the angle between dead and live centroid; a click leads to the card.

    Rows: repo, family, ratio, angle (NULL where nothing is dead: drawn below zero), dead, card.
    """
    families = _families(points)
    ratio = alt.X("ratio:Q", title="centroid length / mean row length", scale=alt.Scale(zero=True))
    tooltip = [
        alt.Tooltip("repo:N", title="model"),
        alt.Tooltip("family:N"),
        alt.Tooltip("ratio:Q", format=".4f", title="centroid ratio"),
        alt.Tooltip("angle:Q", format=".1f", title="dead–live angle °"),
        alt.Tooltip("dead:Q", format=",", title="dead rows"),
    ]
    angle = alt.Y(
        "angle:Q",
        title="angle between dead and live centroid, degrees",
        scale=alt.Scale(domainMin=-6, nice=False),
    )
    dead = alt.Size("dead:Q", title="dead rows", scale=alt.Scale(type="sqrt", range=[30, 600]))
    turned = [point for point in points if point["angle"] is not None]
    without = [{**point, "below": -4} for point in points if point["angle"] is None]
    common: dict[str, Any] = {"color": _family(families), "href": "card:N", "tooltip": tooltip}
    layers = []  # one without data would warn in the console
    if turned:
        circles = alt.Chart(_data(turned)).mark_circle(opacity=0.75, cursor="pointer")
        layers.append(circles.encode(x=ratio, y=angle, size=dead, **common))
    if without:
        ticks = alt.Chart(_data(without)).mark_tick(thickness=2, size=10, cursor="pointer")
        layers.append(ticks.encode(x=ratio, y="below:Q" if turned else alt.Y("below:Q", axis=None), **common))
    return alt.layer(*layers).properties(width="container", height=380 if turned else 60)


def family_ratios(points: Values) -> alt.LayerChart:
    """Each family's models by centroid ratio, with the median. Rows: family, ratio, repo, card."""
    ratios_of: dict[str, list[float]] = {}
    for point in points:
        ratios_of.setdefault(point["family"], []).append(point["ratio"])
    medians = {family: median(ratios) for family, ratios in ratios_of.items()}
    families = sorted(medians, key=lambda family: (-medians[family], family))
    row = alt.Y("family:N", title=None, sort=families)
    ratio = alt.X("ratio:Q", title="centroid length / mean row length")
    ticks = (
        alt.Chart(_data(points))
        .mark_tick(thickness=2, opacity=0.6, cursor="pointer")
        .encode(
            x=ratio,
            y=row,
            color=_family(families, legend=False),
            href="card:N",
            tooltip=["repo:N", alt.Tooltip("ratio:Q", format=".4f")],
        )
    )
    middles = (
        alt.Chart(_data([{"family": family, "ratio": medians[family]} for family in families]))
        .mark_point(shape="diamond", size=70, filled=True, color="currentColor")
        .encode(x=ratio, y=row)
    )
    return (ticks + middles).properties(width="container", height=22 * len(families))


def norm_histogram(data: Data) -> alt.Chart:
    """Row norms in units of the median. Rows: norm (the left edge), end, count."""
    return (
        alt.Chart(_data(data))
        .mark_bar(color=LIVE, binSpacing=0)
        .encode(
            x=alt.X("norm:Q", bin="binned", title="row norm / median"),
            x2="end:Q",
            y=alt.Y("count:Q", title="rows", scale=alt.Scale(type="symlog")),
            tooltip=[
                alt.Tooltip("norm:Q", format=".2f", title="from"),
                alt.Tooltip("count:Q", format=",", title="rows"),
            ],
        )
        .properties(width="container", height=160)
    )


def card_chart(cards: Sequence[tuple[str, str, Values | None, Values | None]]) -> alt.VConcatChart:
    """Norms and exponents of one model's matrices, one under another.

    Of each: a title, words, and the rows of `norm_histogram` and `exponent_histogram`.
    """
    drawn = []
    for title, words, norms, exponents in cards:
        charts = []
        if norms:
            charts.append(norm_histogram(norms).properties(width=560))
        if exponents:
            charts.append(exponent_histogram(exponents).properties(width=560))
        if not charts:
            nothing = _data([{"text": "no per-token table, so no histogram of norms"}])
            charts.append(alt.Chart(nothing).mark_text().encode(text="text:N").properties(width=560))
        heading = alt.TitleParams(title, subtitle=words, anchor="start")
        drawn.append(alt.vconcat(*charts).properties(title=heading).resolve_scale(color="independent"))
    return alt.vconcat(*drawn)


def norm_histograms(bars: Values) -> alt.FacetChart:
    """The same for several models, three side by side. Rows: also model."""
    chart = (
        alt.Chart()
        .mark_bar(color=LIVE, binSpacing=0)
        .encode(
            x=alt.X("norm:Q", bin="binned", title="row norm / median"),
            x2="end:Q",
            y=alt.Y(
                "count:Q",
                title=None,
                scale=alt.Scale(type="symlog"),
                axis=alt.Axis(ticks=False, values=[0, 10, 1000, 100000]),
            ),
            tooltip=[
                "model:N",
                alt.Tooltip("norm:Q", format=".2f", title="from"),
                alt.Tooltip("count:Q", format=",", title="rows"),
            ],
        )
        .properties(width=250, height=90)
    )
    models = list(dict.fromkeys(bar["model"] for bar in bars))
    facet = alt.Facet("model:N", title=None, sort=models)
    return chart.facet(facet=facet, columns=3, data=_data(bars)).resolve_axis(x="independent")


def exponent_histogram(data: Data) -> alt.Chart:
    """Shares of the biased exponents, dead against live. Rows: exponent, rows (dead|live), share."""
    return (
        alt.Chart(_data(data))
        .mark_bar(opacity=0.75)
        .encode(
            x=alt.X("exponent:O", title="biased exponent", axis=alt.Axis(labelOverlap=True)),
            xOffset=alt.XOffset("rows:N", sort=["dead", "live"]),
            y=alt.Y("share:Q", title="share of elements", axis=alt.Axis(format="%")),
            color=alt.Color(
                "rows:N", scale=alt.Scale(domain=["dead", "live"], range=[DEAD, LIVE]), title=None
            ),
            tooltip=[
                "exponent:O",
                "rows:N",
                alt.Tooltip("share:Q", format=".3%"),
                alt.Tooltip("count:Q", format=","),
            ],
        )
        .properties(width="container", height=180)
    )


def angles_polar(points: Values) -> alt.LayerChart | alt.FacetChart:
    """Where the dead centroid points and how long it is, the live centroid pointing right with length 1.

    Rows: repo, family, angle (degrees; NULL is left out), relative (‖dead‖ / ‖live‖), card.
    """
    turned = [point for point in points if point["angle"] is not None and point["relative"] is not None]
    reach = max([1.2, *(1.05 * point["relative"] for point in turned)])
    none: Any = None  # no axes: rings and spokes stand for them
    x = alt.X("x:Q", axis=none, scale=alt.Scale(domain=[-reach, reach]))
    y = alt.Y("y:Q", axis=none, scale=alt.Scale(domain=[-0.12 * reach, reach]))
    rings = [
        {"ring": ring, "order": angle, **_polar(ring, angle)}
        for ring in (0.5, 1.0)
        for angle in range(0, 181, 4)
    ]
    spokes = [
        {"spoke": f"{angle}°", "outer": outer, **_polar(outer * 0.96 * reach, angle)}
        for angle in range(0, 181, 30)
        for outer in (0, 1)
    ]
    quiet: dict[str, Any] = {"color": "currentColor", "opacity": 0.25}
    names = [spoke for spoke in spokes if spoke["outer"]] + [{"spoke": "live = 1", **_polar(1.0, -4)}]
    ends = [{**point, **_polar(point["relative"], point["angle"])} for point in turned]
    colour = _family(_families(points))
    rays = [{**end, "zero": 0} for end in ends]
    layers = (
        alt.Chart(_data(rings)).mark_line(**quiet).encode(x=x, y=y, detail="ring:N", order="order:Q"),
        alt.Chart(_data(spokes)).mark_line(**quiet).encode(x=x, y=y, detail="spoke:N"),
        alt.Chart(_data(names)).mark_text(color="currentColor", dy=-8).encode(x=x, y=y, text="spoke:N"),
        alt.Chart(_data(rays))
        .mark_rule(opacity=0.6)
        .encode(x=x, y=y, x2="zero:Q", y2="zero:Q", color=colour),
        alt.Chart(_data(ends))
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
    )
    return alt.layer(*layers).properties(width=600, height=336)


def _polar(length: float, angle: float) -> dict[str, float]:
    return {"x": length * math.cos(math.radians(angle)), "y": length * math.sin(math.radians(angle))}


def _family(families: Sequence[str], *, legend: bool = True) -> alt.Color:
    """A family has the same colour in every chart of a page."""
    scale = alt.Scale(scheme=_SCHEME, domain=sorted(families))
    return alt.Color("family:N", scale=scale, title=None, legend=alt.Undefined if legend else None)


def _families(points: Values) -> list[str]:
    return sorted({point["family"] for point in points})


def _data(data: Data) -> alt.Data | alt.NamedData:
    return alt.NamedData(name=data) if isinstance(data, str) else alt.Data(values=[dict(row) for row in data])
