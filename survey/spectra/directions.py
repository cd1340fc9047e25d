"""The directions in which a cloud spreads most, and the rows that lie farthest along each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.row_decoder import DecodedRows
from survey.records.column_field import TokenId
from survey.records.results import Direction
from survey.spectra.eigen import leading
from survey.spectra.figures import RowMoments, axis_angle_deg

DIRECTIONS = 8
FARTHEST = 10  # rows at each end of a direction


def principal_axes(cloud: RowMoments, device: str) -> tuple[DecodedRows, DecodedRows]:
    """The leading principal components as columns, [D, K], and the variance along each, [K].

    An axis has no sign of its own: its entry of largest magnitude is positive. K is 0 if variances are
    beyond float64.
    """
    if not (cloud.is_within and np.isfinite(cloud.second).all()):
        return np.zeros((len(cloud.mean), 0)), np.zeros(0)
    values, vectors = leading(cloud.second.copy(), DIRECTIONS, device)
    leaders = np.abs(vectors).argmax(axis=0)
    return vectors * np.sign(vectors[leaders, np.arange(len(values))]), values


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
