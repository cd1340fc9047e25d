"""Histograms of row norms and of biased exponents, as Vega-Lite: the same in cards and in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import altair as alt

from queries.charts.theme import DEAD, LIVE, chart_data
from queries.histograms import ExponentShare, Histograms, NormBar, norm_bars

CARD_WIDTH = 560


@dataclass(frozen=True, slots=True)
class HistogramPanel:
    """The histograms of one matrix, below a title and a line of figures."""

    title: str
    subtitle: str
    histograms: Histograms


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


def exponent_histogram(shares: Sequence[ExponentShare] | str) -> alt.Chart:
    """Shares of the biased exponents, dead against live. shares: by value, or the name that a page uses."""
    return (
        alt.Chart(chart_data(shares))
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


def card_chart(panels: Sequence[HistogramPanel]) -> alt.VConcatChart:
    """Norms and exponents of one model's matrices, one panel below another."""
    return alt.vconcat(*map(_panel, panels))


def _panel(panel: HistogramPanel) -> alt.VConcatChart:
    charts = []
    if panel.histograms.norms is not None:
        charts.append(norm_histogram(norm_bars(panel.histograms.norms)).properties(width=CARD_WIDTH))
    if panel.histograms.exponents is not None:
        shares = panel.histograms.exponents.shares()
        charts.append(exponent_histogram(shares).properties(width=CARD_WIDTH))
    if not charts:
        note = chart_data([{"text": "no per-token table, so no histogram of norms"}])
        charts.append(alt.Chart(note).mark_text().encode(text="text:N").properties(width=CARD_WIDTH))
    heading = alt.TitleParams(panel.title, subtitle=panel.subtitle, anchor="start")
    return alt.vconcat(*charts).properties(title=heading).resolve_scale(color="independent")


def _norm_tooltips() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("norm:Q", format=".2f", title="from"),
        alt.Tooltip("count:Q", format=",", title="rows"),
    ]
