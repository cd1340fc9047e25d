"""The spectrum of one matrix: singular values, what follows from them, and the directions of its spread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from survey.numerics.row_decoder import DecodedRows, RowDecoder
from survey.numerics.vectors import float32
from survey.onepass.geometry import CHUNK_ROWS
from survey.onepass.row_identity import rows_in
from survey.onepass.spool import Spool
from survey.records.blocks import Block
from survey.records.results import Direction, Spectrum
from survey.spectra.covariance import covariance_and_black_holes
from survey.spectra.directions import directions
from survey.spectra.figures import Removal, RowMoments, SpectrumFigures, figures, principal_axes
from survey.spectra.memory import SPECTRUM_SQUARES, refuse_too_wide

DIRECTIONS = 8


@dataclass(frozen=True)
class SpectrumStudy:
    """The result of `survey.spectrum`.

    figures: the columns of the view `spectra`. black_holes: the rows of each, the largest first. axes: the
    leading principal components, [D, K]. coordinates: of every row along them, from the centroid on, [V, K];
    NaN for rows that are not finite.
    """

    figures: Spectrum
    black_holes: Sequence[Sequence[int]] = field(repr=False)
    axes: DecodedRows = field(repr=False)
    coordinates: DecodedRows = field(repr=False)


def study_spectrum(
    blocks: Iterable[Block], decoder: RowDecoder, vocab_rows: int, device: str = "cpu"
) -> SpectrumStudy:
    """The spectrum of a [V, D] matrix from its stored bytes, which are read once, in row order.

    Memory: a few times [D, D] and [V], never [V, D]. device: does the products and the eigenvalues. Raises
    NotRunnable (`infeasible`) if that is not free.
    """
    refuse_too_wide(decoder.dims, device, SPECTRUM_SQUARES)
    chunk_bytes = CHUNK_ROWS * decoder.row_bytes
    with Spool() as spool:
        covariance, black_hole_rows = covariance_and_black_holes(
            spool.record(blocks), decoder, vocab_rows, device
        )
        dead = rows_in(black_hole_rows, vocab_rows)
        cloud = RowMoments(covariance.matrix, covariance.mean, covariance.count, covariance.is_within)
        axes, variances = principal_axes(cloud, device, DIRECTIONS)
        along, live = _second_look(spool.slabs(chunk_bytes), decoder, cloud, axes, dead)
    of_all = figures(cloud, axes, variances, device)
    of_live = figures(live, *principal_axes(live, device, 2), device) if dead.any() else of_all
    clouds = CloudFigures(cloud.count, of_all), CloudFigures(live.count, of_live)
    farthest = directions(cloud, axes, variances, along, covariance.finite)
    along[~covariance.finite] = np.nan
    return SpectrumStudy(spectrum_of(decoder, vocab_rows, *clouds, farthest), black_hole_rows, axes, along)


class CloudFigures(NamedTuple):
    """The figures of a cloud of so many rows."""

    rows: int
    figures: SpectrumFigures


def spectrum_of(
    decoder: RowDecoder,
    vocab_rows: int,
    finite: CloudFigures,
    live: CloudFigures,
    farthest: tuple[Direction, ...] | None,
) -> Spectrum:
    """The record of a matrix: of its finite rows, and of those of them that are live."""
    return Spectrum(
        dtype=decoder.row_format.code,
        vocab_rows=vocab_rows,
        hidden_dim=decoder.dims,
        finite_rows=finite.rows,
        live_rows=live.rows,
        directions=farthest,
        **columns(finite.figures, live.figures),
    )


def columns(of_all: SpectrumFigures, of_live: SpectrumFigures) -> dict[str, Any]:  # Any: numbers and lists
    """The figures of all rows and of the live ones, under the names of their columns."""
    named: dict[str, Any] = {}
    for prefix, values in (("", of_all), ("live_", of_live)):
        for item in fields(values):
            named[prefix + item.name] = getattr(values, item.name)
    for name in ("singular_values", "live_singular_values"):
        if named[name] is not None:
            stored = float32(named[name])
            named[name] = stored if np.isfinite(stored).all() else None  # the figures are in float64
    return named


def _second_look(
    all_slabs: Iterable[Block],
    decoder: RowDecoder,
    cloud: RowMoments,
    axes: DecodedRows,
    dead: NDArray[np.bool_],
) -> tuple[DecodedRows, RowMoments]:
    """Every row's coordinates along the axes, [V, K], and the cloud of the rows that are not dead, [V].

    The coordinates of rows that are not finite mean nothing.
    """
    removal, along = Removal(cloud), []
    with np.errstate(invalid="ignore", over="ignore"):
        for first_row, slab in decoder.numbered(all_slabs):
            rows = decoder.exact(slab, first_row)
            along.append((rows - cloud.mean) @ axes)
            is_dead = dead[first_row : first_row + len(rows)]
            if is_dead.any():
                removal.add(rows[is_dead], np.ones(int(is_dead.sum())))
    return np.concatenate(along), removal.rest()
