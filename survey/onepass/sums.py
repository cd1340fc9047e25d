"""Column sums, row norms and exponent counts, in an order of summation that is written down.

A library's own reduction changes its order with the vector width, the number of threads and the
device, and with it the last bits. Here the order is ours, and two paths follow it bit by bit: loops
compiled for the CPU (sums_cpu.py), and kernels compiled for a GPU (survey/onepass/cuda/).

- column sums: the rows of a chunk of 1,024 are added pairwise (neighbours, then neighbouring pairs,
  and so on up; a row left out counts as zeros), and the chunks' sums one after another. Any 2^n
  neighbouring rows of a chunk can therefore be summed independently. Rows of very different lengths are
  summed apart (see `norm_bands`), so that short rows are not lost beside long ones;
- squared row norms: element d is added to lane d mod 256, then the lanes are folded in halves;
- projections of rows (projection.py): the same, signed, until 32 lanes are left; directions: 128 of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.onepass.geometry import CHUNK_ROWS, DIRECTION_DIMS, PROJECTION_DIMS

# Rows whose norms share a band, a factor of 2^16, are summed together: [2^-8, 2^8) holds all rows of nearly
# every model, so one sum is the rule.
BAND_BITS = 16
ZERO_BAND = -(1 << 20)  # the band of zero rows, which add nothing


@dataclass(frozen=True, slots=True)
class SlabSums:
    """What one slab of R rows adds.

    norms: ‖w_i‖, [R]; not finite if a row holds NaN or infinity. finite: rows that hold neither, [R].
    columns: sum of the finite rows of each band of norms, [D]. exponents: elements by biased exponent.
    directions: projections of w_i / ‖w_i‖, [R, 32]. fine_directions: as `fine_directions`, [R, 128].
    """

    norms: NDArray[np.float64]
    finite: NDArray[np.bool_]
    columns: Mapping[int, NDArray[np.float64]]
    exponents: NDArray[np.int64]
    directions: NDArray[np.float32]
    fine_directions: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class ChunkSums:
    """What consecutive whole chunks of rows add, the last one perhaps shorter: as `SlabSums`, less columns.

    columns: sums of each chunk by band of norms, [chunks, D].
    """

    norms: NDArray[np.float64]
    finite: NDArray[np.bool_]
    columns: Mapping[int, NDArray[np.float64]]
    exponents: NDArray[np.int64]
    directions: NDArray[np.float32]
    fine_directions: NDArray[np.uint16]


class Totals:
    """The sum of slabs of equal length, added in order; only the last one may be shorter."""

    def __init__(self, shape: tuple[int, int], rows_per_slab: int, exponent_values: int) -> None:
        self.vocab_rows, self._dims = shape
        self._norms = np.empty(self.vocab_rows)
        self._finite = np.empty(self.vocab_rows, dtype=bool)
        self._directions = np.empty((self.vocab_rows, PROJECTION_DIMS), dtype=np.float32)
        self._fine_directions = np.empty((self.vocab_rows, DIRECTION_DIMS), dtype=np.uint16)
        self._exponents = np.zeros(exponent_values, dtype=np.int64)
        self._rows = 0
        self._columns: dict[int, NDArray[np.float64]] = {}
        self._chunks: dict[int, NDArray[np.float64]] = {}  # band -> sums of this chunk's slabs
        self._slabs_in_chunk, self._slab = CHUNK_ROWS // rows_per_slab, 0

    def add(self, slab: SlabSums) -> None:
        """Add the next slab."""
        self._add_rows(slab)
        for band, columns in slab.columns.items():
            if band not in self._columns:
                self._columns[band] = np.zeros(self._dims)
                self._chunks[band] = np.zeros((self._slabs_in_chunk, self._dims))
            self._chunks[band][self._slab] = columns
        self._slab += 1
        if self._slab == self._slabs_in_chunk:
            self._close_chunk()

    def add_chunks(self, sums: ChunkSums) -> None:
        """Add the next chunks; all that comes before is whole chunks, too."""
        self._add_rows(sums)
        for band, chunks in sums.columns.items():
            total = self._columns.setdefault(band, np.zeros(self._dims))
            with np.errstate(over="ignore", invalid="ignore"):  # as in added_pairwise
                for columns in chunks:
                    total += columns

    def _add_rows(self, sums: SlabSums | ChunkSums) -> None:
        """Keep what each row has of its own, and add the exponents."""
        here = slice(self._rows, self._rows + len(sums.norms))
        self._rows = here.stop
        self._norms[here], self._finite[here] = sums.norms, sums.finite
        self._directions[here] = sums.directions
        self._fine_directions[here] = sums.fine_directions
        self._exponents += sums.exponents

    def columns(self) -> dict[int, NDArray[np.float64]]:
        """Sum of the finite rows of each band of norms, [D]."""
        self._close_chunk()
        return {band: self._columns[band] for band in sorted(self._columns)}

    def norms(self) -> NDArray[np.float64]:
        """‖w_i‖ of every row, [V]; not finite if a row holds NaN or infinity."""
        assert self._rows == len(self._norms), "a stream delivers every row or raises"
        return self._norms

    def finite(self) -> NDArray[np.bool_]:
        """Rows that hold neither NaN nor infinity, [V]."""
        return self._finite

    def directions(self) -> NDArray[np.float32]:
        """Projections of the rows' directions, [V, 32]."""
        return self._directions

    def fine_directions(self) -> NDArray[np.uint16]:
        """The rows' directions in 128 dimensions, in bfloat16, [V, 128]."""
        return self._fine_directions

    def exponents(self) -> NDArray[np.int64]:
        """Elements of all rows by biased exponent, [exponent values]."""
        return self._exponents

    def _close_chunk(self) -> None:
        for band, slabs in self._chunks.items():
            with np.errstate(over="ignore", invalid="ignore"):  # as in added_pairwise
                self._columns[band] += added_pairwise(slabs)
            slabs[:] = 0.0
        self._slab = 0


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
