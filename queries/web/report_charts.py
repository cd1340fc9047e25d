"""The charts of the report as Vega-Lite specifications (JSON, therefore Any)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from queries.charts.angles import angles_polar
from queries.charts.exponents import exponent_histogram
from queries.charts.families import family_ratios
from queries.charts.norms import norm_histogram, norm_histograms
from queries.charts.scatter import any_scatter, models_scatter
from queries.charts.scree import scree_chart
from queries.drawing.model_points import ModelPoint, families_of
from queries.drawing.theme import chart_name, theme
from queries.histograms import ExponentCounts, ExponentShare, norm_bars
from queries.web.report_data import ReportModel, brief
from queries.web.scatter_axes import scatter_choice

SMALL_MULTIPLES = 12  # norm histograms side by side


def report_charts(models: Sequence[ReportModel]) -> dict[str, Any]:
    """The charts by the names under which the page shows them; None if a chart has nothing to show."""
    output = compared(models)
    points = [point for model in output if (point := _point(model)) is not None]
    once = [point for model in counted_once(models) if (point := _point(model)) is not None]
    most_dead = sorted(
        (model for model in output if model.histograms.norms),
        key=lambda model: (-(model.row["dead_count"] or 0), model.card.title),
    )[:SMALL_MULTIPLES]
    norms = {chart_name(model.card.title): norm_bars(model.histograms.norms or []) for model in most_dead}
    exponents = _mean_exponents(output)
    return {
        "families": _spec(family_ratios(once)) if once else None,
        "scatter": _spec(models_scatter(points)) if points else None,
        "angles": _spec(angles_polar(points)) if any(point.relative for point in points) else None,
        "norms": _spec(norm_histograms(norms)) if norms else None,
        "exponents": _spec(exponent_histogram(exponents)) if exponents else None,
    }


def counted_once(models: Sequence[ReportModel]) -> list[ReportModel]:
    """The models in the chart of families: without copies and quantisations, as in `families.sql`."""
    originals, matrices, once = set[str](), set[str](), []
    for model in sorted(compared(models), key=_place):
        original, matrix = model.row["original"] or model.card.title, _matrix(model)
        if original not in originals and matrix not in matrices:
            once.append(model)
        originals.add(original)
        matrices.add(matrix)
    return once


def _place(model: ReportModel) -> tuple[bool, int, str]:
    place = model.row["place"]
    return place is None, place or 0, model.card.title


def compared(models: Sequence[ReportModel]) -> list[ReportModel]:
    """The unembeddings; if there are none, the embeddings."""
    return [model for model in models if model.row["matrix"] == "output"] or list(models)


def card_charts() -> dict[str, Any]:
    """The charts of a card, without data: the page's script gives them each model's."""
    return {
        "norms": _spec(norm_histogram("norms")),
        "exponents": _spec(exponent_histogram("exponents")),
        "spectrum": _spec(scree_chart("spectrum")),
    }


def scatter_data(models: Sequence[ReportModel]) -> dict[str, Any] | None:
    """The scatter with axes that the reader chooses: its chart, without data, and what it can show."""
    output = [(model, point) for model in compared(models) if (point := _point(model)) is not None]
    if not output:
        return None
    families = families_of([point for _, point in output])
    return {"spec": _spec(any_scatter("points", families)), **asdict(scatter_choice(output))}


def _point(model: ReportModel) -> ModelPoint | None:
    """The model in the charts that compare models; None without a centroid ratio that is a finite number."""
    row = model.row
    ratio = brief(row["centroid_ratio"])
    if ratio is None:
        return None
    dead, live = row["dead_centroid_l2"], row["live_centroid_l2"]
    return ModelPoint(
        repo=chart_name(model.card.title),
        family=chart_name(row["family"] or "(unknown)"),
        ratio=ratio,
        angle=brief(row["dead_live_angle_deg"]),
        dead=row["dead_count"],
        relative=brief(dead / live) if live and dead is not None else None,
        card=model.link,
    )


def _matrix(model: ReportModel) -> str:
    """The same for models of the same matrix, as in `families.sql`."""
    row = model.row
    if row["rows_hash"] is None:
        return model.card.title
    names = ("rows_hash", "dtype", "vocab_rows", "hidden_dim", "token_norm_mean")
    return " ".join(str(row[name]) for name in names)


def _spec(chart: Any) -> dict[str, Any]:  # Any: whichever chart
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None, consolidate_datasets=False):
        spec: dict[str, Any] = theme(chart).to_dict()
    return spec


def _mean_exponents(models: Sequence[ReportModel]) -> list[ExponentShare]:
    """The models' shares by exponent, averaged: each model counts once, however large.

    Of models with dead and live rows, those of the dtype that most of them have.
    """
    both = [
        (model.row["dtype"] or "", counts)
        for model in models
        if (counts := model.histograms.exponents) and sum(counts.dead) and sum(counts.live)
    ]
    if not both:
        return []
    dtypes = [dtype for dtype, _ in both]
    common = max(sorted(set(dtypes)), key=dtypes.count)
    return _averaged([counts for dtype, counts in both if dtype == common])


def _averaged(models: Sequence[ExponentCounts]) -> list[ExponentShare]:
    shares: dict[tuple[int, str], list[float]] = {}
    counts: dict[tuple[int, str], int] = {}
    for share in (share for model in models for share in model.shares()):
        shares.setdefault((share.exponent, share.rows), []).append(share.share)
        counts[share.exponent, share.rows] = counts.get((share.exponent, share.rows), 0) + share.count
    return [
        ExponentShare(exponent, rows, sum(values) / len(models), counts[exponent, rows])
        for (exponent, rows), values in sorted(shares.items())
        if sum(values) > 0
    ]
