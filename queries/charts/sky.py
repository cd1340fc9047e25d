"""The sky of a matrix as a picture: the density of all rows in Mollweide's projection, with marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from survey.errors import printable
from survey.records.results import ClusterRow

if TYPE_CHECKING:
    import altair as alt

Angles = NDArray[np.float64]

EDGE_X, EDGE_Y = 2 * math.sqrt(2), math.sqrt(2)  # half axes of the ellipse that Mollweide's projection fills
ROWS_PER_CELL = 16  # on average; cells have equal areas, so that equal colours are equal densities
SKY_WIDTH = 540
CELL_SIZES = (2, 3, 5, 6, 9, 10, 15, 18, 27)  # divisors of the height, so that cells fill whole pixels
SPACE, RING, TELESCOPE = "#000004", "#35d0ff", "#ff5a4f"  # the darkest of inferno; two beside it
CROSSHAIR = "M-1,0L-.4,0M.4,0L1,0M0,-1L0,-.4M0,.4L0,1"


def mollweide(lat_deg: Angles, lon_deg: Angles) -> tuple[Angles, Angles]:
    """x in ±2√2 and y in ±√2, each [N], of Mollweide's equal-area projection (J. P. Snyder, 1987, p. 251).

    lat_deg, lon_deg: [N].
    """
    # 2θ + sin 2θ = π sin φ, inverted by a table, finer than any picture.
    auxiliary = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 4001)) * np.pi / 2  # denser at the poles
    theta = np.interp(np.pi * np.sin(np.radians(lat_deg)), 2 * auxiliary + np.sin(2 * auxiliary), auxiliary)
    return EDGE_X / np.pi * np.radians(lon_deg) * np.cos(theta), EDGE_Y * np.sin(theta)


def sky_chart(
    row: ClusterRow, lat_deg: Angles, lon_deg: Angles, holes: Sequence[tuple[int, int]]
) -> alt.LayerChart:
    """Density of all rows in Mollweide's projection; black holes, the field and the reference marked.

    lat_deg, lon_deg: [V], NaN for a row without a direction. holes: a row of each black hole, its population.
    """
    import altair as alt

    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[-EDGE_X, EDGE_X]))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[-EDGE_Y, EDGE_Y]))

    def layer(points: list[dict[str, float]]) -> alt.Chart:
        data = alt.Data(values=points)
        return alt.Chart(data, width=SKY_WIDTH, height=SKY_WIDTH // 2)

    def lines(paths: Sequence[tuple[Angles, Angles]], colour: str, **mark: Any) -> alt.Chart:
        drawn = layer(_paths(paths)).mark_line(color=colour, **mark)
        encoded: alt.Chart = drawn.encode(x=x, y=y, detail="path:N", order="order:Q")
        return encoded

    rows = alt.Color("rows:Q", title="rows", scale=alt.Scale(type="log", scheme="inferno"))
    layers = [
        lines(_graticule()[-1:], SPACE, strokeWidth=0, fill=SPACE),
        layer(_cells(lat_deg, lon_deg)).mark_rect().encode(x=x, x2="x2", y=y, y2="y2", color=rows),
        lines(_graticule(), "#8d93a1", strokeWidth=0.35),
        lines(_field_outline(row), TELESCOPE, strokeWidth=1.2),
    ]
    if marks := _marks(lat_deg, lon_deg, holes):
        shown = sorted({int(mark["dead"]) for mark in marks})
        dead = alt.Size(
            "dead:Q",
            title="rows in black holes",
            scale=alt.Scale(type="sqrt", domain=[0, shown[-1]], range=[30, 500]),
            legend=alt.Legend(values=sorted({shown[0], shown[len(shown) // 2], shown[-1]})),
        )
        ring = layer(marks).mark_point(color=RING, filled=False, strokeWidth=1.5, opacity=1)
        layers.append(ring.encode(x=x, y=y, size=dead))
    if row.ref_lat_deg is not None and row.ref_lon_deg is not None:
        here = _marks(np.array([row.ref_lat_deg]), np.array([row.ref_lon_deg]), [(0, 1)])
        cross = layer(here).mark_point(shape=CROSSHAIR, color=TELESCOPE, size=900, strokeWidth=1.5, opacity=1)
        layers.append(cross.encode(x=x, y=y))
    title = alt.TitleParams(
        f"{printable(row.repo).rpartition('/')[2]}: {row.vocab_rows:,} rows on components "
        f"{row.meridian} (centre), {row.equinox} (east), {row.north} (north)",
        subtitle=f"cross-hair: reference token {row.ref_token_id}; rows with its bf16 dot product: "
        f"{row.n_cluster:,}, rows in its field: {row.n_field:,}",
    )
    chart: alt.LayerChart = alt.layer(*layers, title=title).configure_view(stroke=None)
    return chart


def _cells(lat_deg: Angles, lon_deg: Angles) -> list[dict[str, float]]:
    """Rows counted in square cells of the projection; empty cells are left out."""
    known = np.isfinite(lat_deg)
    across = _across(int(known.sum()))
    side = 2 * EDGE_X / across
    x, y = mollweide(lat_deg[known], lon_deg[known])
    columns = np.clip(((x + EDGE_X) / side).astype(np.int64), 0, across - 1)
    lines = np.clip(((y + EDGE_Y) / side).astype(np.int64), 0, across // 2 - 1)
    counts = np.bincount(lines * across + columns)
    cells = []
    for cell in np.flatnonzero(counts).tolist():
        line, column = divmod(cell, across)
        left, low = column * side - EDGE_X, line * side - EDGE_Y
        corner = {
            "x": round(left, 4),
            "x2": round(left + side, 4),
            "y": round(low, 4),
            "y2": round(low + side, 4),
        }
        cells.append(corner | {"rows": int(counts[cell])})
    return cells


def _across(rows: int) -> int:
    """Cells across the picture: the ellipse fills π/4 of across × across / 2."""
    columns = math.sqrt(rows * 8 / (math.pi * ROWS_PER_CELL))
    return SKY_WIDTH // min(CELL_SIZES, key=lambda size: abs(math.log(max(columns, 1) * size / SKY_WIDTH)))


def _graticule() -> list[tuple[Angles, Angles]]:
    """Meridians and parallels every 30°, and last the edge as one line."""
    along = np.linspace(-1, 1, 91)
    meridians = [(90 * along, np.full(91, lon)) for lon in range(-150, 151, 30)]
    parallels = [(np.full(91, lat), 180 * along) for lat in range(-60, 61, 30)]
    edge = np.concatenate([90 * along, -90 * along]), np.repeat([180.0, -180.0], 91)
    return [*meridians, *parallels, edge]


def _field_outline(row: ClusterRow) -> list[tuple[Angles, Angles]]:
    if row.field_lat_deg is None or row.field_lon_deg is None:
        return []
    turn = np.linspace(0, 2 * np.pi, 181)
    if row.field_radius_deg is not None:
        # The circle around the north pole, tilted to its centre.
        far, tilt = np.radians(row.field_radius_deg), np.radians(90 - row.field_lat_deg)
        x, y, z = np.sin(far) * np.cos(turn), np.sin(far) * np.sin(turn), np.full(181, np.cos(far))
        x, z = np.cos(tilt) * x + np.sin(tilt) * z, np.cos(tilt) * z - np.sin(tilt) * x
        lat = np.degrees(np.arcsin(np.clip(z, -1, 1)))
        lon = np.degrees(np.arctan2(y, x)) + row.field_lon_deg
        return _unwrapped(lat, (lon + 180) % 360 - 180)
    assert row.field_diameter_deg is not None, "a field has one of the two sizes"
    half, along = row.field_diameter_deg / 2, np.linspace(-1, 1, 46)
    lat = np.concatenate([np.full(46, -1.0), along, np.full(46, 1.0), -along])
    lon = np.concatenate([along, np.full(46, 1.0), -along, np.full(46, -1.0)])
    return [
        (np.clip(row.field_lat_deg + half * lat, -90, 90), np.clip(row.field_lon_deg + half * lon, -180, 180))
    ]


def _unwrapped(lat: Angles, lon: Angles) -> list[tuple[Angles, Angles]]:
    """A line on the sphere, cut where it crosses the edge of the map."""
    cuts = np.flatnonzero(np.abs(np.diff(lon)) > 180) + 1
    return list(zip(np.split(lat, cuts), np.split(lon, cuts), strict=True))


def _paths(paths: Sequence[tuple[Angles, Angles]]) -> list[dict[str, float]]:
    points = []
    for path, (lat, lon) in enumerate(paths):
        x, y = mollweide(lat, lon)
        points += [
            {"path": path, "order": order, "x": round(float(a), 4), "y": round(float(b), 4)}
            for order, (a, b) in enumerate(zip(x, y, strict=True))
        ]
    return points


def _marks(lat_deg: Angles, lon_deg: Angles, holes: Sequence[tuple[int, int]]) -> list[dict[str, float]]:
    """Marks of black holes; those that a picture cannot separate share one."""
    marks: dict[tuple[float, float], int] = {}
    for token, population in holes:
        x, y = mollweide(lat_deg[token : token + 1], lon_deg[token : token + 1])
        if np.isfinite(x[0]):
            spot = (round(float(x[0]), 2), round(float(y[0]), 2))
            marks[spot] = marks.get(spot, 0) + population
    return [{"x": x, "y": y, "dead": dead} for (x, y), dead in marks.items()]
