"""The chart of a card: histograms of norms and exponents of one model's matrices, and their spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import altair as alt

from queries.charts.exponents import exponent_histogram
from queries.charts.norms import norm_histogram
from queries.charts.scree import scree_chart, scree_points
from queries.drawing.theme import chart_data
from queries.histograms import Histograms, norm_bars
from queries.scree import Curve

CARD_WIDTH = 560


@dataclass(frozen=True, slots=True)
class HistogramPanel:
    """The histograms of one matrix, below a title and a line of figures. curves: of its spectrum, by name."""

    title: str
    subtitle: str
    histograms: Histograms
    curves: Mapping[str, Curve] = field(default_factory=dict)


def card_chart(panels: Sequence[HistogramPanel]) -> alt.VConcatChart:
    """Norms, exponents and spectra of one model's matrices, one panel below another."""
    return alt.vconcat(*map(_panel, panels))


def _panel(panel: HistogramPanel) -> alt.VConcatChart:
    charts = []
    if panel.histograms.norms is not None:
        charts.append(norm_histogram(norm_bars(panel.histograms.norms)).properties(width=CARD_WIDTH))
    if panel.histograms.exponents is not None:
        shares = panel.histograms.exponents.shares()
        charts.append(exponent_histogram(shares).properties(width=CARD_WIDTH))
    if panel.curves:
        charts.append(scree_chart(scree_points(panel.curves)).properties(width=CARD_WIDTH))
    if not charts:
        note = chart_data([{"text": "no per-token table, so no histogram of norms"}])
        charts.append(alt.Chart(note).mark_text().encode(text="text:N").properties(width=CARD_WIDTH))
    heading = alt.TitleParams(panel.title, subtitle=panel.subtitle, anchor="start")
    return alt.vconcat(*charts).properties(title=heading).resolve_scale(color="independent")
