"""Histograms of row norms, the same in cards and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import altair as alt

from queries.drawing.theme import LIVE, chart_data
from queries.histograms import NormBar


def norm_histogram(bars: Sequence[NormBar] | str) -> alt.Chart:
    """Row norms in units of the median. bars: by value, or the name under which a page holds them."""
    return (
        alt.Chart(chart_data(bars))
        .mark_bar(color=LIVE, binSpacing=0)
        .encode(
            x=alt.X("norm:Q", bin="binned", title="row norm / median"),
            x2="end:Q",
            y=alt.Y("count:Q", title="rows", scale=alt.Scale(type="symlog")),
            tooltip=_norm_tooltips(),
        )
        .properties(width="container", height=160)
    )


def norm_histograms(bars: Mapping[str, Sequence[NormBar]]) -> alt.FacetChart:
    """The same for several models, by their names: three side by side."""
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
            tooltip=["model:N", *_norm_tooltips()],
        )
        .properties(width=250, height=90)
    )
    rows = [{"model": model, **asdict(bar)} for model, of_model in bars.items() for bar in of_model]
    facet = alt.Facet("model:N", title=None, sort=list(bars))
    return chart.facet(facet=facet, columns=3, data=chart_data(rows)).resolve_axis(x="independent")


def _norm_tooltips() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("norm:Q", format=".2f", title="from"),
        alt.Tooltip("count:Q", format=",", title="rows"),
    ]
