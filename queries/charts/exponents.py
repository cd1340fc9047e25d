"""The histogram of biased exponents, the same in cards and in the report."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from queries.drawing.theme import DEAD, LIVE, chart_data
from queries.histograms import ExponentShare


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
