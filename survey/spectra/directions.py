"""The directions in which a cloud spreads most, and the rows that lie farthest along each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.row_decoder import DecodedRows
from survey.records.column_field import TokenId
from survey.records.results import Direction
from survey.spectra.figures import RowMoments, axis_angle_deg

FARTHEST = 10  # rows at each end of a direction


def directions(
    cloud: RowMoments,
    axes: DecodedRows,
    variances: DecodedRows,
    along: DecodedRows,
    finite: NDArray[np.bool_],
) -> tuple[Direction, ...]:
    """The axes [D, K] of a cloud with their farthest rows. along: coordinates, [V, K]. finite: [V]."""
    total = float(np.trace(cloud.second))
    rows = np.flatnonzero(finite)
    described = []
    for number, variance in enumerate(variances.tolist()):
        order = rows[np.argsort(along[rows, number], kind="stable")]
        low, high = order[:FARTHEST], order[::-1][:FARTHEST]
        described.append(
            Direction(
                number=number + 1,
                variance_share=variance / total if total > 0.0 else None,
                centroid_angle_deg=axis_angle_deg(axes[:, number], cloud.mean),
                low_ids=_ids(low),
                low_at=tuple(along[low, number].tolist()),
                high_ids=_ids(high),
                high_at=tuple(along[high, number].tolist()),
            )
        )
    return tuple(described)


def _ids(rows: NDArray[np.int64]) -> tuple[TokenId, ...]:
    return tuple(TokenId(row) for row in rows.tolist())
