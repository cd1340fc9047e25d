"""The sky of one matrix: its axes, the coordinates of every row, and the rows close to a reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.numerics.row_decoder import DecodedRows, RowDecoder
from survey.numerics.vectors import finite_or_none
from survey.onepass.geometry import CHUNK_ROWS
from survey.onepass.row_identity import rows_in
from survey.onepass.spool import Spool
from survey.records.blocks import Block
from survey.records.column_field import TokenId
from survey.records.results import Cluster
from survey.sky.basis import Axes, Basis, basis, check_axes
from survey.sky.neighbours import Neighbours, neighbours, round_to_bf16
from survey.sky.reference import Reference, choose_reference
from survey.sky.sphere import NEIGHBOURHOOD_DEG, Field, Sky, in_field, to_sphere
from survey.spectra.covariance import covariance_and_black_holes
from survey.spectra.memory import CLUSTER_SQUARES, refuse_too_wide

AXES = Axes()


@dataclass(frozen=True)
class ClusterStudy:
    """The result of `survey.cluster`.

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


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the reads of the matrix give.

    black_hole_rows: the largest first. finite, norms: of the rows, [V]; norms of others are NaN.
    """

    basis: Basis
    sky: Sky
    finite: NDArray[np.bool_]
    norms: DecodedRows
    black_hole_rows: list[list[int]]
    reference: Reference
    neighbours: Neighbours


def study(
    blocks: Iterable[Block],
    decoder: RowDecoder,
    vocab_rows: int,
    *,
    axes: Axes = AXES,
    token: int | None = None,
    view: Field | None = None,
    device: str = "cpu",
) -> ClusterStudy:
    """Study the sky of a [V, D] matrix from its stored bytes, in row order; they are read once.

    token: the reference row; without it the first row in `view`, or the largest black hole's first. view: the
    telescope's field; without it a small circle around the reference. Memory: a few times [D, D] and [V],
    never [V, D]. Raises UsageError if there is no such axis, row or field, NotRunnable (`infeasible`) if that
    memory is not free.
    """
    check_axes(axes, decoder.dims)
    refuse_too_wide(decoder.dims, device, CLUSTER_SQUARES)
    if token is not None and not 0 <= token < vocab_rows:
        raise UsageError(f"token {token}: the matrix has the rows 0 … {vocab_rows - 1}")
    if view is not None:
        view.check()
    reading = _read(blocks, decoder, vocab_rows, axes, token, view, device)
    sky, reference = reading.sky, reading.reference.row
    if view is None and np.isfinite(sky.lat_deg[reference]):
        lat_deg, lon_deg = float(sky.lat_deg[reference]), float(sky.lon_deg[reference])
        view = Field(lat_deg, lon_deg, radius_deg=NEIGHBOURHOOD_DEG)
    field_rows = in_field(sky, view) if view is not None else np.zeros(vocab_rows, dtype=bool)
    dots = round_to_bf16(reading.neighbours.dots)
    cluster_rows = reading.finite & (dots == dots[reference])
    figures = _figures(reading, decoder, axes, view, field_rows, cluster_rows)
    return ClusterStudy(figures, sky, reading.basis, reading.black_hole_rows, field_rows, cluster_rows)


def _read(
    blocks: Iterable[Block],
    decoder: RowDecoder,
    vocab_rows: int,
    axes: Axes,
    token: int | None,
    view: Field | None,
    device: str,
) -> _Reading:
    """Read the source once, for the covariance, and its copy twice: to project, and to compare."""
    chunk_bytes = CHUNK_ROWS * decoder.row_bytes
    with Spool() as spool:
        covariance, black_hole_rows = covariance_and_black_holes(
            spool.record(blocks), decoder, vocab_rows, device
        )
        axes_basis = basis(covariance, axes, device)
        sky, norms = _project(spool.slabs(chunk_bytes), decoder, axes_basis, covariance.finite)
        reference = choose_reference(token, view, sky, black_hole_rows, norms)
        stored = spool.read(reference.row * decoder.row_bytes, decoder.row_bytes)
        near = neighbours(spool.slabs(chunk_bytes), decoder, reference.row, stored)
    return _Reading(axes_basis, sky, covariance.finite, norms, black_hole_rows, reference, near)


def _project(
    all_slabs: Iterable[Block], decoder: RowDecoder, axes: Basis, finite: NDArray[np.bool_]
) -> tuple[Sky, DecodedRows]:
    """The coordinates of every row, and its length, [V]; NaN if it is not finite."""
    projected, squares = [], []
    with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite
        for first_row, slab in decoder.numbered(all_slabs):
            values = decoder.exact(slab, first_row)
            projected.append(values @ axes.vectors)
            squares.append(np.einsum("ij,ij->i", values, values))
    positions = np.where(finite[:, None], np.concatenate(projected), np.nan)
    return to_sphere(positions), np.where(finite, np.sqrt(np.concatenate(squares)), np.nan)


def _figures(
    reading: _Reading,
    decoder: RowDecoder,
    axes: Axes,
    view: Field | None,
    field_rows: NDArray[np.bool_],
    cluster_rows: NDArray[np.bool_],
) -> Cluster:
    """The columns of the view `clusters`. field_rows, cluster_rows: which rows, [V]."""
    sky, reference = reading.sky, reading.reference.row
    vocab_rows = len(reading.finite)
    ref_dot = reading.neighbours.dots[reference]
    dead = rows_in(reading.black_hole_rows, vocab_rows)
    return Cluster(
        dtype=decoder.row_format.code,
        vocab_rows=vocab_rows,
        hidden_dim=decoder.dims,
        nonfinite_rows=int(vocab_rows - reading.finite.sum()),
        north=axes.north,
        meridian=axes.meridian,
        equinox=axes.equinox,
        meridian_variance=reading.basis.variances[0],
        equinox_variance=reading.basis.variances[1],
        north_variance=reading.basis.variances[2],
        total_variance=reading.basis.total_variance,
        ref_by=reading.reference.chosen_by,
        ref_token_id=TokenId(reference),
        ref_lat_deg=finite_or_none(sky.lat_deg[reference]),
        ref_lon_deg=finite_or_none(sky.lon_deg[reference]),
        ref_radius=float(sky.radius[reference]),
        ref_norm=float(reading.norms[reference]),
        ref_population=next((len(rows) for rows in reading.black_hole_rows if reference in rows), 1),
        field_lat_deg=None if view is None else view.lat_deg,
        field_lon_deg=None if view is None else view.lon_deg,
        field_diameter_deg=None if view is None else view.diameter_deg,
        field_radius_deg=None if view is None else view.radius_deg,
        n_field=int(field_rows.sum()),
        ref_dot=float(ref_dot),
        ref_dot_bf16=float(round_to_bf16(ref_dot)),
        n_cluster=int(cluster_rows.sum()),
        n_cluster_in_field=int((cluster_rows & field_rows).sum()),
        n_cluster_dead=int((cluster_rows & dead).sum()),
        cluster_token_ids=tuple(TokenId(row) for row in np.flatnonzero(cluster_rows).tolist()),
        exponent_ladder=reading.neighbours.ladder,
    )
