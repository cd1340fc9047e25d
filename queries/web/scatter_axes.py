"""The figures that the report's scatter can have as its axes (specifications as JSON, therefore Any)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from queries.drawing.model_points import ModelPoint
from queries.web.report_data import ReportModel, brief

# Columns of `models`; those with a dot are of `spectra`, as shares of the hidden size.
SCATTER_FIGURES = {
    "centroid_ratio": "centroid length / mean row length",
    "dead_live_angle_deg": "angle between dead and live centroid, degrees",
    "mean_cosine": "mean cosine of two rows",
    "live_mean_cosine": "mean cosine of two live rows",
    "variance_participation": "dimensions that hold the variance (participation) / hidden size",
    "top_dim_variance_share": "share of the variance in one dimension, the largest",
    "outlier_dims": "dimensions of more than ten times the median variance",
    "spectra.effective_rank": "effective rank / hidden size",
    "spectra.participation_ratio": "participation ratio / hidden size",
    "spectra.pc1_share": "share of the variance along the first component",
}
OF_HIDDEN_SIZE = ("variance_participation", "spectra.effective_rank", "spectra.participation_ratio")


@dataclass(frozen=True, slots=True)
class ScatterChoice:
    """The axes that some model has a figure for, by their titles, and the figures of each point, in order."""

    titles: Sequence[str]
    points: Sequence[dict[str, Any]]
    figures: Sequence[Sequence[float | None]]


def scatter_choice(models: Sequence[tuple[ReportModel, ModelPoint]]) -> ScatterChoice:
    """What the scatter can show. models: each with its point in the charts."""
    figures = {axis: [_figure(model, axis) for model, _ in models] for axis in SCATTER_FIGURES}
    first = tuple(SCATTER_FIGURES)[:2]  # those of the chart that is shown first
    known = {
        axis: values
        for axis, values in figures.items()
        if axis in first or any(value is not None for value in values)
    }
    return ScatterChoice(
        titles=[SCATTER_FIGURES[axis] for axis in known],
        points=[asdict(point) for _, point in models],
        figures=list(known.values()),
    )


def _figure(model: ReportModel, axis: str) -> float | None:
    _, dot, name = axis.partition(".")
    value = model.row[axis] if not dot else model.spectrum and model.spectrum.figures[name]
    dims = model.row["hidden_dim"]
    return _number(value if axis not in OF_HIDDEN_SIZE or value is None or not dims else value / dims)


def _number(value: Any) -> float | None:
    shown = brief(value)
    return shown if isinstance(shown, (int, float)) else None
