"""The report: one page that holds its data, its charts and the library that draws them; it fetches nothing.

The template, its style and its script lie in `pages/`; the charts come from `queries.web.report_charts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from catalog.read.reader import Answer, Reader
from queries.charts.scree import CURVE_COLOURS, FAMILY_COLOUR
from queries.drawing.chart_page import in_script
from queries.drawing.picture_files import drawing_library
from queries.histograms import NORM_STEP
from queries.library import find
from queries.scree import SHARES
from queries.text.card_facts import FACTS
from queries.text.status import COUNTS, advice
from queries.web.report_charts import card_charts, compared, counted_once, report_charts, scatter_data
from queries.web.report_data import ReportModel, brief, gather
from survey.errors import storable
from survey.process.clock import utc_now
from survey.records.units import bytes_text

PAGES = Path(__file__).parent / "pages"
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
    """The heading of a page: its title, and the version of the survey that made it."""

    title: str
    version: str


@dataclass(frozen=True, slots=True)
class Live:
    """What the page of a server has besides. nonce: of its scripts. token: lets its links ask questions."""

    nonce: str
    token: str


def build_report(
    reader: Reader, heading: Heading, limit: int, tell: Callable[[str], None], *, live: Live | None = None
) -> str:
    """The page over a catalog, as HTML, of at most `limit` models: those measured last.

    tell: called with a sentence before each long step. live: for the page of a server, which takes questions.
    Raises UsageError if the catalog cannot be read.
    """
    tell("reading the models")
    gathered = gather(reader, limit, tell)
    tables, charts = _tables(reader, gathered.models), report_charts(gathered.models)
    tell("putting the page together")
    data = {
        "tables": tables,
        "charts": charts,
        "specs": card_charts(),
        "facts": FACTS,
        "hole_columns": gathered.hole_columns,
        "scatter": scatter_data(gathered.models),
        "spectra": {
            "shares": SHARES,
            "families": list(map(asdict, gathered.families)),
            "colours": {**CURVE_COLOURS, "": FAMILY_COLOUR},
        },
        "norm_step": NORM_STEP,
        "cards": [asdict(model.card) for model in gathered.models],
    }
    reasons = sorted({row[0] or "" for row in tables["refusals"]["rows"]})
    return _rendered(
        title=storable(heading.title),
        version=heading.version,
        made=f"{utc_now():%Y-%m-%d %H:%M}",
        counts=_counts(reader),
        shown=len(gathered.models),
        total=gathered.total,
        charts=charts,
        copies=len(compared(gathered.models)) - len(counted_once(gathered.models)),
        history=bool(tables["history"]["rows"]),
        refusals={reason: advice(reason) for reason in reasons},
        live=live,
        data=in_script(data),
    )


def _rendered(*, live: Live | None, data: str, **shown: Any) -> str:  # Any: texts and numbers of the template
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(PAGES), autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html").render(
        live=live,
        css=Markup(_page("report.css")),
        library=Markup(drawing_library()),
        script=Markup(_page("report.js") + (_page("live.js") if live else "")),
        data=Markup(data),
        **shown,
    )
    return page.lstrip()


def _tables(reader: Reader, models: Sequence[ReportModel]) -> dict[str, Any]:
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
        f"{bytes_text(fetched or 0)} were read of repositories of {bytes_text(repositories or 0)}, "
        f"for {bytes_text(measured or 0)} of matrices."
    )


def _page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")
