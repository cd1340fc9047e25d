"""A cluster for a person: the axes, the reference, the field beside the cluster, the exponent ladder."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from survey.errors import printable
from survey.records.results import ClusterRow

CHOSEN_BY = {
    "token": "asked for",
    "field": "the first in the field",
    "black_hole": "of the largest black hole",
}


def print_cluster(row: ClusterRow, console: Console) -> None:
    """Print the axes, the reference, the field beside the cluster, and the exponent ladder."""
    console.print(f"[bold]{escape(printable(f'{row.repo}@{row.revision}'))}[/]")
    console.print(f"{row.matrix} {row.vocab_rows:,} × {row.hidden_dim:,} {row.dtype}")
    shares = ", ".join(
        f"{name} {number} ({variance / row.total_variance:.2%})"
        for name, number, variance in (
            ("north", row.north, row.north_variance),
            ("meridian", row.meridian, row.meridian_variance),
            ("equinox", row.equinox, row.equinox_variance),
        )
    )
    twins = f", {row.ref_population:,} rows with its bytes" if row.ref_population > 1 else ""
    location = f"latitude {_degrees(row.ref_lat_deg)}, longitude {_degrees(row.ref_lon_deg)}"
    rungs = row.exponent_ladder
    climbs = [f"≤{k}: {count:,}" for k, count in enumerate(rungs) if k in (0, 16) or count != rungs[k - 1]]
    lines = {
        "components": f"{shares} of the variance",
        "reference": f"token {row.ref_token_id}, {CHOSEN_BY[row.ref_by]}{twins}; ‖h‖ {row.ref_norm:.6g}",
        "stands at": f"{location}, radius {row.ref_radius:.6g}",
        "field": f"{_field(row)}: {row.n_field:,} rows",
        "bf16(t·h) = bf16(h·h)": f"{row.ref_dot_bf16:.8g}: {row.n_cluster:,} rows; "
        f"{row.n_cluster_in_field:,} of them in the field, {row.n_cluster_dead:,} in black holes",
        "exponents differ by": ", ".join(climbs),
    }
    for name, text in lines.items():
        console.print(f"  {name:<22} {text}", highlight=False)


def _field(row: ClusterRow) -> str:
    if row.field_lat_deg is None:
        return "none: the reference projects on the origin"
    size = (
        f"box of {row.field_diameter_deg:g}°"
        if row.field_diameter_deg is not None
        else f"radius {row.field_radius_deg:g}°"
    )
    centre = f"latitude {_degrees(row.field_lat_deg)}, longitude {_degrees(row.field_lon_deg)}"
    return f"{size} around {centre if row.ref_by == 'field' else 'the reference'}"


def _degrees(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}°"
