"""What the report shows of each model: its columns, its histograms, its point in the charts, its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite
from typing import Any

from catalog.read.reader import Answer, Reader, key_lists
from queries.drawing.theme import chart_name
from queries.histograms import ExponentCounts, Histograms, ModelKey, histograms
from queries.scree import Curve, ModelSpectrum, spectra_beside_families
from queries.text.card_facts import FACTS
from queries.text.forms import json_value

SHOWN_BLACK_HOLES = 8  # in a card
_MODELS = """
from (from models order by measured_at desc, repo, sha, matrix limit $limit)
left join (select repo, sha, matrix, original, place from counted_models('*')) using (repo, sha, matrix)
order by repo, matrix, sha
"""
_BLACK_HOLES = """
select
    repo, sha, matrix,
    rank, population, norm, angle_to_live_deg, token_ids[1:4] as first_tokens, texts[1:4] as first_texts
from black_holes
semi join each_key($repos, $shas, $matrices) using (repo, sha, matrix)
where rank <= $shown
order by repo, sha, matrix, rank
"""
_KEY = ("repo", "sha", "matrix")


@dataclass(frozen=True, slots=True)
class ReportCard:
    """What the page's script shows of one model, as JSON values (therefore Any).

    facts: values of `FACTS`. holes: the largest black holes, as `HoleTable.columns` names them. curves: of
    its spectrum, by their names in legends. family: the number of its family's in `ReportModels.families`.
    """

    title: str
    facts: Sequence[Any]
    norms: Sequence[int] | None
    exponents: ExponentCounts | None
    holes: Sequence[Sequence[Any]]
    more_holes: int
    curves: Mapping[str, Sequence[float | None]] | None = None
    family: int | None = None


@dataclass(frozen=True, slots=True)
class FamilyCurve:
    """The median spectrum of a family's models, by its name in legends."""

    name: str
    curve: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class HoleTable:
    """The largest black holes of each model: rows of `columns`, by repo, sha and matrix."""

    columns: Sequence[str]
    rows: Mapping[ModelKey, Sequence[Sequence[Any]]]  # Any: JSON


@dataclass(frozen=True, slots=True)
class ReportModel:
    """One row of the view `models`, its histograms and its card. link: leads to the card in the page.

    The row's `original` is the same for a model and its quantisations, whose order is `place`; both are NULL
    for a commit that is not the newest.
    """

    row: Mapping[str, Any]  # Any: a value of a column
    histograms: Histograms
    card: ReportCard
    link: str
    spectrum: ModelSpectrum | None = None


@dataclass(frozen=True, slots=True)
class ReportModels:
    """The models of a report. hole_columns: of tables of black holes. total: rows of the view `models`.

    families: the curves of those that have spectra, by their names in legends.
    """

    models: Sequence[ReportModel]
    hole_columns: Sequence[str]
    total: int
    families: Sequence[FamilyCurve]


def gather(reader: Reader, limit: int, tell: Callable[[str], None]) -> ReportModels:
    """The `limit` models measured last, ordered by name. Raises UsageError if they cannot be read.

    tell: called with a sentence before the long part.
    """
    answer = reader.ask(_MODELS, {"limit": limit})
    rows = {key: row for row in _dicts(answer) if (key := (row["repo"], row["sha"], row["matrix"]))}
    ((total,),) = reader.ask("select count(*) from models").rows
    tell(f"reading the norms of {len(rows)} models")
    drawn = histograms(reader, list(rows))
    holes = _holes(reader, list(rows))
    spectra = dict(zip(rows, spectra_beside_families(reader, list(rows.values())), strict=True))
    families = {id(item.family): item.family for item in spectra.values() if item.family is not None}
    numbers = {family: number for number, family in enumerate(families)}
    models = [
        ReportModel(
            row,
            drawn[key],
            replace(
                _card(row, drawn[key], holes.rows.get(key, ())),
                curves=_curves(spectra[key].model),
                family=numbers.get(id(spectra[key].family)),
            ),
            f"#card-{number}",
            spectra[key].model,
        )
        for number, (key, row) in enumerate(rows.items())
    ]
    curves = [FamilyCurve(chart_name(family.title), _short(family.curve)) for family in families.values()]
    return ReportModels(models, holes.columns, total, curves)


def _curves(spectrum: ModelSpectrum | None) -> Mapping[str, Sequence[float | None]] | None:
    if spectrum is None:
        return None
    return {name: _short(curve) for name, curve in spectrum.curves().items()}


def _short(curve: Curve | None) -> list[float | None]:
    """A curve with the digits that a picture shows."""
    return [None if value is None or not isfinite(value) else float(f"{value:.3g}") for value in curve or ()]


def brief(value: Any) -> Any:  # Any: whatever SQL returns
    """A value as JSON with six digits: a page is read by people, and stays small."""
    if isinstance(value, datetime):
        return value.isoformat(" ", "minutes")
    plain = json_value(value)
    return float(f"{plain:.6g}") if isinstance(plain, float) else plain


def _dicts(answer: Answer) -> list[dict[str, Any]]:
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def _card(row: Mapping[str, Any], drawn: Histograms, holes: Sequence[Sequence[Any]]) -> ReportCard:
    return ReportCard(
        title=_title(row),
        facts=[brief(row[name]) for name in FACTS],
        norms=drawn.norms,
        exponents=drawn.exponents,
        holes=holes,
        more_holes=max(0, (row["black_hole_count"] or 0) - SHOWN_BLACK_HOLES),
    )


def _holes(reader: Reader, keys: Sequence[ModelKey]) -> HoleTable:
    answer = reader.ask(_BLACK_HOLES, {**key_lists(keys), "shown": SHOWN_BLACK_HOLES})
    rows: dict[ModelKey, list[list[Any]]] = {}
    for repo, sha, matrix, *hole in answer.rows:
        rows.setdefault((repo, sha, matrix), []).append([brief(value) for value in hole])
    return HoleTable(answer.names[len(_KEY) :], rows)


def _title(row: Mapping[str, Any]) -> str:
    plain = row["revision"] == "main" or row["sha"].startswith("local-")
    revision = "" if plain else f"@{row['revision']}"
    side = "" if row["matrix"] == "output" else f" ({row['matrix']})"
    return f"{row['repo']}{revision}{side}"
