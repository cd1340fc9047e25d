"""Spectra of single models beside those of their families: figures, and falling curves of singular values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.read.reader import Reader, key_lists
from queries.histograms import ModelKey

# At which shares of all singular values a curve is read, the largest first; each time a third more.
SHARES = tuple(round(0.001 * 1000 ** (step / 23), 6) for step in range(24))
ALL_ROWS, LIVE_ROWS = "all rows", "live rows"  # names of curves
UNKNOWN_FAMILY = "(unknown)"  # the family of models without one, as in `families.sql`
FIGURES = {
    "spectral_norm": "largest singular value",
    "stable_rank": "stable rank",
    "effective_rank": "effective rank",
    "participation_ratio": "participation ratio",
    "condition": "condition",
    "pc1_share": "first component's share",
    "pc1_centroid_angle_deg": "its angle with the centroid, °",
    "alpha": "power law of the tail, α",
    "alpha_ks": "its distance (KS)",
}
_CURVE = """list_transform(
    $shares,
    lambda share: if(
        share * len({values}) < 0.5, null, {values}[round(share * len({values}))::int] / {values}[1]
    )
)"""
_MODELS = f"""
select
    repo, sha, matrix, finite_rows, live_rows,
    {", ".join(f"spectra.{name}, spectra.live_{name}" for name in FIGURES)},
    if(singular_values[1] > 0, {_CURVE.format(values="singular_values")}, null) as curve,
    if(live_singular_values[1] > 0, {_CURVE.format(values="live_singular_values")}, null) as live_curve
from spectra
semi join each_key($repos, $shas, $matrices) using (repo, sha, matrix)
"""
# Each model of a family once, whatever its copies and quantisations.
_FAMILIES = f"""
with members as (
    select
        coalesce(family_of_original, '{UNKNOWN_FAMILY}') as family, matrix,
        {", ".join(f"spectra.{name}" for name in FIGURES)},
        if(singular_values[1] > 0, {_CURVE.format(values="singular_values")}, null) as curve
    from counted_models('*') as counted
    join spectra using (repo, sha, matrix)
    where place = 1
),
points as (
    select family, matrix, unnest(curve) as value, generate_subscripts(curve, 1) as number from members
),
medians as (
    select family, matrix, number, median(value) as value from points group by all
),
curves as (
    select family, matrix, list(value order by number) as curve from medians group by all
)
select
    family, matrix, count(*) as models,
    {", ".join(f"median({name}) as {name}" for name in FIGURES)},
    any_value(curves.curve) as curve
from members
left join curves using (family, matrix)
group by family, matrix
"""

Curve = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class FamilySpectrum:
    """The medians of a family's models. figures: by name. curve: as that of a `ModelSpectrum`."""

    family: str
    models: int
    figures: Mapping[str, float | None]
    curve: Curve | None

    @property
    def title(self) -> str:
        """Its name in tables and legends."""
        return f"median of {self.models:,} {self.family}"


@dataclass(frozen=True, slots=True)
class ModelSpectrum:
    """The spectrum of one matrix.

    figures: by name, of all rows and, with `live_`, of the live ones. curve: σ / σ_1 of all rows at each of
    SHARES; live_curve: of the live ones, None if no row is dead.
    """

    figures: Mapping[str, float | None]
    curve: Curve | None
    live_curve: Curve | None
    live_rows: int
    finite_rows: int

    def curves(self) -> dict[str, Curve]:
        """Its curves by the names that a legend shows."""
        named = {ALL_ROWS: self.curve, LIVE_ROWS: self.live_curve}
        return {name: curve for name, curve in named.items() if curve is not None}


@dataclass(frozen=True, slots=True)
class BesideFamily:
    """The spectrum of one matrix, and that of its family; None if there is none."""

    model: ModelSpectrum | None
    family: FamilySpectrum | None

    def curves(self) -> dict[str, Curve]:
        """The curves by the names that a legend shows; none without a spectrum."""
        if self.model is None:
            return {}
        family = self.family
        of_family = {} if family is None or family.curve is None else {family.title: family.curve}
        return of_family | self.model.curves()


FamilyKey = tuple[str, str]  # family, matrix


def model_spectra(reader: Reader, keys: Sequence[ModelKey]) -> dict[ModelKey, ModelSpectrum]:
    """The spectra of these models, as far as there are any. Raises UsageError if they cannot be read."""
    if not keys:
        return {}
    answer = reader.ask(_MODELS, {**key_lists(keys), "shares": list(SHARES)})
    rows = [dict(zip(answer.names, row, strict=True)) for row in answer.rows]
    return {
        (row["repo"], row["sha"], row["matrix"]): ModelSpectrum(
            figures={name: row[name] for base in FIGURES for name in (base, f"live_{base}")},
            curve=row["curve"],
            live_curve=row["live_curve"] if row["live_rows"] != row["finite_rows"] else None,
            live_rows=row["live_rows"],
            finite_rows=row["finite_rows"],
        )
        for row in rows
    }


def family_spectra(reader: Reader) -> dict[FamilyKey, FamilySpectrum]:
    """The medians of each family and matrix. Raises UsageError if they cannot be read."""
    answer = reader.ask(_FAMILIES, {"shares": list(SHARES)})
    rows = [dict(zip(answer.names, row, strict=True)) for row in answer.rows]
    return {
        (row["family"], row["matrix"]): FamilySpectrum(
            row["family"], row["models"], {name: row[name] for name in FIGURES}, row["curve"]
        )
        for row in rows
    }


def spectra_beside_families(reader: Reader, rows: Sequence[Mapping[str, Any]]) -> list[BesideFamily]:
    """Of each row of the view `models`, in their order. Raises UsageError if they cannot be read."""
    keys = [(row["repo"], row["sha"], row["matrix"]) for row in rows]
    models = model_spectra(reader, keys)
    families = family_spectra(reader) if models else {}
    return [
        BesideFamily(models.get(key), families.get((row["family"] or UNKNOWN_FAMILY, row["matrix"])))
        for key, row in zip(keys, rows, strict=True)
    ]
