"""The reference row of a cluster: named by the user, the first in a field, or a black hole's first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from survey.errors import UsageError
from survey.numerics.row_decoder import DecodedRows
from survey.records.results import RefBy
from survey.sky.sphere import Field, Sky, in_field


@dataclass(frozen=True, slots=True)
class Reference:
    """The number of a row, and what chose it."""

    row: int
    chosen_by: RefBy


def choose_reference(
    token: int | None,
    view: Field | None,
    sky: Sky,
    black_hole_rows: Sequence[Sequence[int]],
    norms: DecodedRows,
) -> Reference:
    """Row `token`, else the first row in `view`, else the first of the largest black hole with a direction.

    black_hole_rows: the largest first. norms: of every row, [V]; NaN if it is not finite. Raises UsageError
    if there is no such row, or it has no direction.
    """
    reference = _candidate(token, view, sky, black_hole_rows, norms)
    row, chosen_by = reference.row, reference.chosen_by
    if np.isnan(norms[row]):
        raise UsageError(
            f"row {row} (chosen by {chosen_by}) holds a NaN or an infinity: it has no position in the sky"
        )
    if norms[row] == 0:
        raise UsageError(
            f"row {row} (chosen by {chosen_by}) is all zeros: its dot product with every row is 0"
        )
    return reference


def _candidate(
    token: int | None,
    view: Field | None,
    sky: Sky,
    black_hole_rows: Sequence[Sequence[int]],
    norms: DecodedRows,
) -> Reference:
    if token is not None:
        return Reference(token, "token")
    if view is not None:
        field_rows = np.flatnonzero(in_field(sky, view))
        if not len(field_rows):
            raise UsageError(
                f"no row stands in the field ({view}): widen it, or point elsewhere"
                f"{_largest_black_hole(sky, black_hole_rows)}"
            )
        return Reference(int(field_rows[0]), "field")
    for rows in black_hole_rows:
        if norms[rows[0]] > 0:  # zeros have no direction, rows that are not finite no position
            return Reference(rows[0], "black_hole")
    raise UsageError(
        "no black hole to start from: no finite rows but zeros are identical. Name a row with --token, or "
        "point the telescope with --lat, --lon and --diameter or --radius"
    )


def _largest_black_hole(sky: Sky, black_hole_rows: Sequence[Sequence[int]]) -> str:
    """Where the largest black hole with a position stands, to end a message; empty if there is none."""
    for rows in black_hole_rows:
        if np.isfinite(sky.lat_deg[rows[0]]):
            return (
                f"; the largest black hole stands at latitude {sky.lat_deg[rows[0]]:.4f}°, "
                f"longitude {sky.lon_deg[rows[0]]:.4f}°"
            )
    return ""
