"""The report: one page that holds its data, its charts and what draws them, and asks nobody.

The template, its style and its script lie in `pages/`; the charts are `queries.charts.report`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog.read.reader import Answer, Reader
from queries.histograms import NORM_STEP, norm_bars
from queries.library import find
from queries.text.card import FACTS
from queries.text.status import COUNTS, advice
from queries.web.report_data import Model, brief, gather
from survey.records.units import bytes_text

PAGES = Path(__file__).parent / "pages"
_LIBRARY = "window.vegaEmbed = vegaEmbed;"
SMALL_MULTIPLES = 12  # norm histograms side by side
_HISTORY = """
    select
        repo, matrix, revision, sha, measured_at, centroid_l2, centroid_ratio, dead_count,
        dead_live_angle_deg
    from models_history
    qualify count(*) over (partition by repo, matrix) > 1
    order by repo, matrix, measured_at desc, sha
    limit 2000
"""
_COLUMNS = (
    "repo", "matrix", "family", "vocab_rows", "hidden_dim", "dtype", "tied", "centroid_ratio", "centroid_l2",
    "black_hole_count", "dead_count", "dead_live_angle_deg", "exponent_offset", "measured_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above a page: its title, and the version of the survey that made it."""

    title: str
    version: str


@dataclass(frozen=True, slots=True)
class Live:
    """What a served page has. nonce: of its scripts. token: allows its links to ask."""

    nonce: str
    token: str


def build_report(
    reader: Reader, heading: Heading, limit: int, tell: Callable[[str], None], *, live: Live | None = None
) -> str:
    """The page over a catalog, as HTML, of at most `limit` models, those measured last.

    tell: is told what is being done. live: with a section that takes questions, of a server.
    Raises UsageError where the catalog cannot be asked.
    """
    import vl_convert
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    tell("reading the models")
    models, total = gather(reader, limit, tell)
    tables, charts = _tables(reader, models), _charts(models)
    tell("putting the page together")
    data = {
        "tables": tables,
        "charts": charts,
        "specs": _card_specs(),
        "facts": FACTS,
        "hole_columns": models[0].hole_columns if models else (),
        "norm_step": NORM_STEP,
        "cards": [model.card for model in models],
    }
    environment = Environment(loader=FileSystemLoader(PAGES), autoescape=True, trim_blocks=True)
    return (
        environment.get_template("report.html")
        .render(
            title=heading.title,
            version=heading.version,
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            counts=_counts(reader),
            shown=len(models),
            total=total,
            charts=charts,
            history=bool(tables["history"]["rows"]),
            refusals={
                reason: advice(reason)
                for reason in sorted({row[0] or "" for row in tables["refusals"]["rows"]})
            },
            live=live,
            css=Markup(_page("report.css")),
            library=Markup(vl_convert.javascript_bundle(_LIBRARY).replace("</script", "<\\/script")),
            script=Markup(_page("report.js") + (_page("live.js") if live else "")),
            data=Markup(in_script(data)),
        )
        .lstrip()
    )


def in_script(data: Any) -> str:  # Any: JSON
    """JSON that can stand inside a script element: no text in it can end the element or open a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _charts(models: Sequence[Model]) -> dict[str, Any]:
    from queries.charts import report as charts

    output = [model for model in models if model.row["matrix"] == "output"] or list(models)
    points = [point for model in output if (point := model.point) is not None]
    most_dead = sorted(
        (model for model in output if model.norms),
        key=lambda model: (-model.row["dead_count"], model.card["title"]),
    )[:SMALL_MULTIPLES]
    norms = [
        {"model": model.card["title"], **bar} for model in most_dead for bar in norm_bars(model.norms or [])
    ]
    exponents = _mean_exponents(output)
    return {
        "families": _spec(charts.family_ratios(points)) if points else None,
        "scatter": _spec(charts.models_scatter(points)) if points else None,
        "angles": _spec(charts.angles_polar(points)) if any(point["relative"] for point in points) else None,
        "norms": _spec(charts.norm_histograms(norms)) if norms else None,
        "exponents": _spec(charts.exponent_histogram(exponents)) if exponents else None,
    }


def _card_specs() -> dict[str, Any]:
    from queries.charts import report as charts

    return {
        "norms": _spec(charts.norm_histogram("norms")),
        "exponents": _spec(charts.exponent_histogram("exponents")),
    }


def _spec(chart: Any) -> dict[str, Any]:  # Any: whichever chart
    import altair as alt

    from queries.charts.report import theme

    with alt.data_transformers.enable("default", max_rows=None, consolidate_datasets=False):
        spec: dict[str, Any] = theme(chart).to_dict()
    return spec


def _mean_exponents(models: Sequence[Model]) -> list[dict[str, Any]]:
    """The models' shares by exponent, averaged: each model counts once, however large."""
    dead = [
        model
        for model in models
        if model.exponents and sum(model.exponents["dead"]) and sum(model.exponents["live"])
    ]
    if not dead:
        return []
    dtypes = [model.row["dtype"] for model in dead]
    common = max(sorted(set(dtypes)), key=dtypes.count)
    shares: dict[tuple[int, str], list[float]] = {}
    counts: dict[tuple[int, str], int] = {}
    chosen = [model.exponents for model in dead if model.row["dtype"] == common and model.exponents]
    for exponents in chosen:
        for rows in ("dead", "live"):
            total = sum(exponents[rows])
            for at, count in enumerate(exponents[rows], exponents["first"]):
                shares.setdefault((at, rows), []).append(count / total)
                counts[at, rows] = counts.get((at, rows), 0) + count
    return [
        {"exponent": at, "rows": rows, "share": sum(values) / len(chosen), "count": counts[at, rows]}
        for (at, rows), values in sorted(shares.items())
        if sum(values) > 0
    ]


def _tables(reader: Reader, models: Sequence[Model]) -> dict[str, Any]:
    named = {"families": "families", "refusals": "failures", "versions": "versions"}
    queries = {name: find(query) for name, query in named.items()}
    return {
        **{name: _table(reader.ask(query.sql, query.bind({}))) for name, query in queries.items()},
        "history": _table(reader.ask(_HISTORY)),
        "models": {
            "columns": _COLUMNS,
            "rows": [[brief(model.row[name]) for name in _COLUMNS] for model in models],
            "cards": [f"#card-{number}" for number in range(len(models))],
        },
    }


def _table(answer: Answer) -> dict[str, Any]:
    return {"columns": answer.names, "rows": [[brief(value) for value in row] for row in answer.rows]}


def _counts(reader: Reader) -> str:
    ((models, matrices, families, holes, measured, fetched, repositories, *_),) = reader.ask(COUNTS).rows
    if not matrices:
        return "Nothing has been measured yet."
    return (
        f"{models:,} models of {families:,} families, {matrices:,} matrices, {holes:,} with black holes. "
        f"{bytes_text(fetched)} were read of repositories of {bytes_text(repositories)}, "
        f"for {bytes_text(measured)} of matrices."
    )


def _page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")
