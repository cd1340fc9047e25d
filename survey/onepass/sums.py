"""Column sums, row norms and exponent counts, in an order of summation that is written down.

A library's own reduction changes its order with the vector width, the number of threads and the
device, and with it the last bits. Here the order is ours, and two paths follow it bit by bit: loops
compiled for the CPU (sums_cpu.py), and kernels compiled for a GPU (survey/onepass/cuda/).

- column sums: the rows of a chunk of 1,024 are added pairwise (neighbours, then neighbouring pairs,
  and so on up; a row left out counts as zeros), and the chunks' sums one after another. Any 2^n
  neighbouring rows of a chunk can therefore be summed independently. Rows of very different lengths are
  summed apart (see `norm_bands`), so that short rows are not lost beside long ones. Squares, and rows at
  length 1, are added in the same order;
- squared row norms: element d is added to lane d mod 256, then the lanes are folded in halves;
- projections of rows (projection.py): the same, signed, until 32 lanes are left; directions: 128 of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.onepass.geometry import CHUNK_ROWS, DIRECTION_DIMS, PROJECTION_DIMS, WEIGHT_BITS
from survey.onepass.row_values import HOLDS_ALL, RowValues

# Rows whose norms share a band, a factor of 2^16, are summed together: [2^-8, 2^8) holds all rows of nearly
# every model, so one sum is the rule.
BAND_BITS = 16
ZERO_BAND = -(1 << 20)  # the band of zero rows, which add nothing


@dataclass(frozen=True, slots=True)
class RowSums:
    """What each of R rows has of its own.

    norms: ‖w_i‖, [R]; not finite if a row holds NaN or infinity. finite: rows that hold neither, [R].
    directions: projections of w_i / ‖w_i‖, [R, 32]. fine_directions: rows projected to 128 dimensions, at
    length 1, in bfloat16, [R, 128]. Both are zeros if a row has no direction. values: not set of bfloat16.
    """

    norms: NDArray[np.float64]
    finite: NDArray[np.bool_]
    directions: NDArray[np.float32]
    fine_directions: NDArray[np.uint16]
    values: RowValues

    @classmethod
    def empty(cls, rows: int) -> RowSums:
        return cls(
            norms=np.empty(rows),
            finite=np.empty(rows, dtype=bool),
            directions=np.empty((rows, PROJECTION_DIMS), dtype=np.float32),
            fine_directions=np.empty((rows, DIRECTION_DIMS), dtype=np.uint16),
            values=RowValues.empty(rows),
        )

    def part(self, start: int, stop: int) -> RowSums:
        """Views of the rows [start, stop)."""
        here = slice(start, stop)
        return RowSums(
            self.norms[here],
            self.finite[here],
            self.directions[here],
            self.fine_directions[here],
            self.values.part(start, stop),
        )


@dataclass(frozen=True, slots=True)
class SlabSums:
    """What one slab adds. columns: sum of the finite rows of each band of norms, [D]. exponents: elements.

    squares: Σ of the finite rows' squares, column by column, [D]. units: Σ of the rows that have a direction,
    each at length 1, [D]. held_by: bits of HOLDS that are true of all its rows.
    """

    columns: Mapping[int, NDArray[np.float64]]
    squares: NDArray[np.float64]
    units: NDArray[np.float64]
    exponents: NDArray[np.int64]
    held_by: int


@dataclass(frozen=True, slots=True)
class ChunkSums:
    """What consecutive whole chunks of rows add, the last one perhaps shorter.

    columns: sums of each chunk by band of norms, [chunks, D]. squares, units: of each chunk, [chunks, D].
    held_by: as in SlabSums.
    """

    rows: RowSums
    columns: Mapping[int, NDArray[np.float64]]
    squares: NDArray[np.float64]
    units: NDArray[np.float64]
    exponents: NDArray[np.int64]
    held_by: int


class _ColumnTotal:
    """A sum over rows, [D]: slabs of a chunk are added pairwise, chunks one after another."""

    def __init__(self, dims: int, slabs_in_chunk: int) -> None:
        self.total = np.zeros(dims)
        self._chunk = np.zeros((slabs_in_chunk, dims))

    def add_slab(self, index: int, columns: NDArray[np.float64]) -> None:
        self._chunk[index] = columns

    def close_chunk(self) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # as in added_pairwise
            self.total += added_pairwise(self._chunk)
        self._chunk[:] = 0.0  # for the next chunk may add nothing

    def add_chunks(self, chunks: NDArray[np.float64]) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            for columns in chunks:
                self.total += columns


class Totals:
    """The sum of slabs of equal length, added in order; only the last one may be shorter.

    rows: what each row has of its own, [V]; threads set the parts of their slabs. mantissas: as counted until
    now, None if they are not. held_by: bits of HOLDS that are true of all rows.
    """

    def __init__(self, shape: tuple[int, int], rows_per_slab: int, exponent_values: int) -> None:
        self.vocab_rows, self._dims = shape
        self.rows = RowSums.empty(self.vocab_rows)
        self._exponents = np.zeros(exponent_values, dtype=np.int64)
        self.mantissas: NDArray[np.int64] | None = None
        self.held_by = HOLDS_ALL
        self.added_rows = 0
        self._slabs_in_chunk, self._slab = CHUNK_ROWS // rows_per_slab, 0
        self._columns: dict[int, _ColumnTotal] = {}
        self._squares, self._units = self._new_total(), self._new_total()

    def add(self, slab: SlabSums, rows: int) -> None:
        """Add the next slab, of so many rows."""
        self.added_rows += rows
        self._exponents += slab.exponents
        self.held_by &= slab.held_by
        for band, columns in slab.columns.items():
            self._of_band(band).add_slab(self._slab, columns)
        self._squares.add_slab(self._slab, slab.squares)
        self._units.add_slab(self._slab, slab.units)
        self._slab += 1
        if self._slab == self._slabs_in_chunk:
            self._close_chunk()

    def add_chunks(self, sums: ChunkSums) -> None:
        """Add the next chunks; all that comes before is whole chunks, too."""
        start, stop = self.added_rows, self.added_rows + len(sums.rows.norms)
        here, self.added_rows = self.rows.part(start, stop), stop
        here.norms[:], here.finite[:] = sums.rows.norms, sums.rows.finite
        here.directions[:], here.fine_directions[:] = sums.rows.directions, sums.rows.fine_directions
        here.values.forms[:], here.values.hashes[:] = sums.rows.values.forms, sums.rows.values.hashes
        self._exponents += sums.exponents
        self.held_by &= sums.held_by
        for band, chunks in sums.columns.items():
            self._of_band(band).add_chunks(chunks)
        self._squares.add_chunks(sums.squares)
        self._units.add_chunks(sums.units)

    def add_mantissas(self, counts: NDArray[np.int64]) -> None:
        self.mantissas = counts if self.mantissas is None else self.mantissas + counts

    def columns(self) -> dict[int, NDArray[np.float64]]:
        """Sum of the finite rows of each band of norms, [D]."""
        self._close()
        return {band: self._columns[band].total for band in sorted(self._columns)}

    def squares(self) -> NDArray[np.float64]:
        """Sum of the finite rows' squares, column by column, [D]."""
        self._close()
        return self._squares.total

    def units(self) -> NDArray[np.float64]:
        """Sum of the rows that have a direction, each at length 1, [D]."""
        self._close()
        return self._units.total

    def exponents(self) -> NDArray[np.int64]:
        """Elements of all rows by biased exponent, [exponent values]."""
        return self._exponents

    def _new_total(self) -> _ColumnTotal:
        return _ColumnTotal(self._dims, self._slabs_in_chunk)

    def _of_band(self, band: int) -> _ColumnTotal:
        if band not in self._columns:
            self._columns[band] = self._new_total()
        return self._columns[band]

    def _close(self) -> None:
        assert self.added_rows == self.vocab_rows, "a stream delivers every row or raises"
        if self._slab:
            self._close_chunk()

    def _close_chunk(self) -> None:
        for total in (*self._columns.values(), self._squares, self._units):
            total.close_chunk()
        self._slab = 0


def weights(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / norm in 24 bits, [R], with which the rows have length 1 in sums; 0 if a row has no direction.

    A value of 24 bits times such a number is exact in float64. It is up to 2^-23 of itself too small.
    """
    has_direction = np.isfinite(norms) & (norms > 0)
    with np.errstate(over="ignore"):  # norms that are subnormal in float64
        inverse = 1.0 / np.where(has_direction, norms, 1.0)
    cut: NDArray[np.float64] = (inverse.view(np.uint64) & np.uint64(WEIGHT_BITS)).view(np.float64)
    return np.where(has_direction, cut, 0.0)


def added_pairwise(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pairwise sum of [2^n, D] over the first axis, [D]."""
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float64 the result is no number, then NULL
        while len(sums) > 1:
            sums = sums[0::2] + sums[1::2]
    total: NDArray[np.float64] = sums[0]
    return total


def norm_bands(norms: NDArray[np.float64]) -> NDArray[np.int64]:
    """The band of each norm, [R]: floor((binary exponent + 8) / 16); ZERO_BAND if it is 0 or not finite."""
    usable = np.where(np.isfinite(norms), norms, 0.0)
    _, exponents = np.frexp(usable)
    bands = (exponents.astype(np.int64) + BAND_BITS // 2) // BAND_BITS
    return np.where(usable == 0.0, ZERO_BAND, bands)


def rows_by_band(norms: NDArray[np.float64]) -> dict[int, NDArray[np.bool_]]:
    """For each band among these norms [R] the rows in it, [R]; ZERO_BAND is left out."""
    ends = norm_bands(np.array([norms.min(), norms.max()]))  # NaN if a norm is
    if ends[0] == ends[1] != ZERO_BAND:  # the rule, and many times as fast
        return {int(ends[0]): np.ones(len(norms), dtype=bool)}
    bands = norm_bands(norms)
    return {band: bands == band for band in np.unique(bands).tolist() if band != ZERO_BAND}
