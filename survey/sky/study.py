"""The sky of one matrix: its axes, where every row stands, and the rows close to a reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.numerics.row_decoder import DecodedRows, RowDecoder
from survey.onepass.layout import CHUNK_ROWS
from survey.onepass.row_identity import RowIdentity, row_digests
from survey.onepass.slabs import slabs
from survey.onepass.spool import Replay
from survey.records.blocks import Block
from survey.records.columns import TokenId
from survey.records.results import Cluster, RefBy
from survey.sky.basis import Axes, Basis, basis, check_axes
from survey.sky.covariance import Covariance, CovarianceSum, rows_per_slab
from survey.sky.neighbours import neighbours, round_to_bf16
from survey.sky.sphere import NEIGHBOURHOOD_DEG, Field, Sky, in_field, to_sphere

AXES = Axes()


@dataclass(frozen=True)
class ClusterStudy:
    """What `survey.cluster` finds.

    figures: the columns of the view `clusters`. sky: coordinates of every row, [V] each. basis: the axes.
    black_holes: the rows of each, ascending, the largest first. in_field, in_cluster: which rows, [V].
    """

    figures: Cluster
    sky: Sky = field(repr=False)
    basis: Basis = field(repr=False)
    black_holes: Sequence[Sequence[int]] = field(repr=False)
    in_field: NDArray[np.bool_] = field(repr=False)
    in_cluster: NDArray[np.bool_] = field(repr=False)

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The notebook's tensors, by its names and in its dtypes."""
        return {
            "cluster_mask": self.in_cluster.astype(np.uint8),
            "cluster_token_ids": np.flatnonzero(self.in_cluster).astype(np.int32),
            "ref_token_id": np.array([self.figures.ref_token_id], dtype=np.int32),
            "n_cluster": np.array([self.figures.n_cluster], dtype=np.int32),
        }


def study(
    blocks: Iterable[Block],
    rows: RowDecoder,
    vocab: int,
    *,
    axes: Axes = AXES,
    token: int | None = None,
    view: Field | None = None,
    device: str = "cpu",
) -> ClusterStudy:
    """Study the sky of a [V, D] matrix of stored bytes, given in order; they are read once.

    token: the reference row; without it the first row in `view`, or the largest black hole's first. view: the
    telescope's field; without it a small circle around the reference. Memory: a few times [D, D] and [V],
    never [V, D]. Raises UsageError where there is no such axis, row or field.
    """
    check_axes(axes, rows.dims)
    if token is not None and not 0 <= token < vocab:
        raise UsageError(f"token {token}: the matrix has the rows 0 … {vocab - 1}")
    if view is not None:
        view.check()
    chunk_bytes = CHUNK_ROWS * rows.row_bytes
    with Replay() as replay:
        covariance, holes = _read(replay.keep(blocks), rows, vocab, device)
        found = basis(covariance, axes)
        sky, norms = _survey(replay.slabs(chunk_bytes), rows, found, covariance.finite)
        ref, ref_by = _choose(token, view, sky, holes, norms)
        _check_reference(ref, ref_by, norms)
        stored = replay.piece(ref * rows.row_bytes, rows.row_bytes)
        close = neighbours(replay.slabs(chunk_bytes), rows, ref, stored)
    if view is None and np.isfinite(sky.lat_deg[ref]):
        view = Field(float(sky.lat_deg[ref]), float(sky.lon_deg[ref]), radius_deg=NEIGHBOURHOOD_DEG)
    seen = in_field(sky, view) if view is not None else np.zeros(vocab, dtype=bool)
    ref_dot = close.dots[ref]
    cluster = covariance.finite & (round_to_bf16(close.dots) == round_to_bf16(ref_dot))
    dead = np.zeros(vocab, dtype=bool)
    for members in holes:
        dead[members] = True
    figures = Cluster(
        dtype=rows.form.code,
        vocab_rows=vocab,
        hidden_dim=rows.dims,
        nonfinite_rows=int(vocab - covariance.finite.sum()),
        north=axes.north,
        meridian=axes.meridian,
        equinox=axes.equinox,
        meridian_variance=found.variances[0],
        equinox_variance=found.variances[1],
        north_variance=found.variances[2],
        total_variance=found.total_variance,
        ref_by=ref_by,
        ref_token_id=TokenId(ref),
        ref_lat_deg=_number(sky.lat_deg[ref]),
        ref_lon_deg=_number(sky.lon_deg[ref]),
        ref_radius=float(sky.radius[ref]),
        ref_norm=float(norms[ref]),
        ref_population=next((len(members) for members in holes if ref in members), 1),
        field_lat_deg=None if view is None else view.lat_deg,
        field_lon_deg=None if view is None else view.lon_deg,
        field_diameter_deg=None if view is None else view.diameter_deg,
        field_radius_deg=None if view is None else view.radius_deg,
        n_field=int(seen.sum()),
        ref_dot=float(ref_dot),
        ref_dot_bf16=float(round_to_bf16(ref_dot)),
        n_cluster=int(cluster.sum()),
        n_cluster_in_field=int((cluster & seen).sum()),
        n_cluster_dead=int((cluster & dead).sum()),
        cluster_token_ids=tuple(TokenId(row) for row in np.flatnonzero(cluster).tolist()),
        exponent_ladder=close.ladder,
    )
    return ClusterStudy(figures, sky, found, holes, seen, cluster)


def _read(
    blocks: Iterable[Block], rows: RowDecoder, vocab: int, device: str
) -> tuple[Covariance, list[list[int]]]:
    """The covariance, and the rows of each black hole, the largest first."""
    summed, identity = CovarianceSum(rows.dims, device), RowIdentity(vocab, rows.row_bytes)
    try:
        for first, slab in rows.numbered(slabs(blocks, rows_per_slab(rows.dims) * rows.row_bytes)):
            summed.add(rows.values(slab, first))
            identity.add(slab, row_digests(slab, rows.row_bytes))
        holes = sorted(identity.holes, key=lambda members: (-len(members), members[0]))
    finally:
        identity.close()
    return summed.covariance(), holes


def _survey(
    kept: Iterable[Block], rows: RowDecoder, axes: Basis, finite: NDArray[np.bool_]
) -> tuple[Sky, DecodedRows]:
    """Where every row stands, and its length (NaN where it is not finite)."""
    projected, squares = [], []
    with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite
        for first, slab in rows.numbered(kept):
            values = rows.exact(slab, first)
            projected.append(values @ axes.vectors)
            squares.append(np.einsum("ij,ij->i", values, values))
    places = np.where(finite[:, None], np.concatenate(projected), np.nan)
    return to_sphere(places), np.where(finite, np.sqrt(np.concatenate(squares)), np.nan)


def _choose(
    token: int | None, view: Field | None, sky: Sky, holes: Sequence[Sequence[int]], norms: DecodedRows
) -> tuple[int, RefBy]:
    """The reference row, and what chose it."""
    if token is not None:
        return token, "token"
    if view is not None:
        seen = np.flatnonzero(in_field(sky, view))
        if not len(seen):
            raise UsageError(
                f"no row stands in the field ({view}): widen it, or point elsewhere{_advice(sky, holes)}"
            )
        return int(seen[0]), "field"
    for rows in holes:
        if norms[rows[0]] > 0:  # a hole of zeros has no direction, one that is not finite no place
            return rows[0], "black_hole"
    raise UsageError(
        "no black hole to start from: no finite rows but zeros are identical. Name a row with --token, or "
        "point the telescope with --lat, --lon and --diameter or --radius"
    )


def _advice(sky: Sky, holes: Sequence[Sequence[int]]) -> str:
    for rows in holes:
        if np.isfinite(sky.lat_deg[rows[0]]):
            return (
                f"; the largest black hole stands at latitude {sky.lat_deg[rows[0]]:.4f}°, "
                f"longitude {sky.lon_deg[rows[0]]:.4f}°"
            )
    return ""


def _check_reference(ref: int, ref_by: RefBy, norms: DecodedRows) -> None:
    if np.isnan(norms[ref]):
        raise UsageError(
            f"row {ref} (chosen by {ref_by}) holds a NaN or an infinity: it has no place in the sky"
        )
    if norms[ref] == 0:
        raise UsageError(f"row {ref} (chosen by {ref_by}) is all zeros: its dot product with every row is 0")


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
