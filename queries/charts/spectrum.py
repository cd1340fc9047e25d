"""The singular values of a matrix as a picture: a scree plot, of all rows and of the live ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queries.drawing.line_chart import COLOURS
from survey.errors import printable
from survey.records.results import SpectrumRow

if TYPE_CHECKING:
    import altair as alt


def spectrum_chart(row: SpectrumRow) -> alt.Chart:
    """σ_i over i, both on logarithmic axes; values that are zero but for rounding are left out."""
    import altair as alt

    every, live = f"all {row.finite_rows:,} rows", f"{row.live_rows:,} live rows"
    series = {every: row.singular_values}
    if row.live_rows != row.finite_rows:
        series[live] = row.live_singular_values
    points = [
        {"number": number, "value": value, "of": name}
        for name, values in series.items()
        if values is not None
        for number, value in enumerate(map(float, values), 1)
        if value > 0.0
    ]
    chart: alt.Chart = (
        alt.Chart(
            alt.Data(values=points),
            width=520,
            height=320,
            title=alt.Title(_finding(row), subtitle=printable(f"{row.repo}@{row.revision}, {row.matrix}")),
        )
        .mark_line(strokeWidth=1.5)
        .encode(
            x=alt.X("number:Q", title="i, the largest first", scale=alt.Scale(type="log", nice=False)),
            y=alt.Y("value:Q", title="singular value σᵢ", scale=alt.Scale(type="log", nice=False)),
            color=alt.Color(
                "of:N",
                title=None,
                scale=alt.Scale(domain=list(series), range=COLOURS[: len(series)]),
                legend=alt.Legend(orient="top") if len(series) > 1 else None,
            ),
        )
    )
    return chart


def _finding(row: SpectrumRow) -> str:
    if row.effective_rank is None or row.pc1_share is None:
        return f"{row.vocab_rows:,} rows of {row.hidden_dim:,} dimensions"
    return (
        f"{row.effective_rank:,.0f} of {row.hidden_dim:,} dimensions in use; "
        f"the first holds {row.pc1_share:.1%} of the variance"
    )
