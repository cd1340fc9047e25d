"""Column sums, row norms and exponent counts, in an order of summation that is written down.

torch's own reductions change their order with the vector width, the number of threads and the
device, and with it the last bits. Only elementwise operations are used here, so the same bits come
out everywhere:

- column sums: row r of a chunk of 1,024 is added to lane r mod 32; at the end of the chunk the
  lanes are folded in halves, and the chunk's sum is added to the total. Rows of very different
  lengths are summed apart (see `magnitude`), so that short rows are not lost beside long ones;
- squared row norms: element d is added to lane d mod 256, then the lanes are folded in halves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from survey.dtypes import FloatFormat
from survey.slabs import CHUNK_ROWS, LANE_ROWS
from survey.stream import Block

if TYPE_CHECKING:
    import torch

LANE_DIMS = 256
WORDS = 1 << 15  # the upper 16 bits of an element, its sign left out


# Rows whose norms share a band of 2^16 are summed together: [2^-8, 2^8) holds all rows of nearly
# every model, so one sum is the rule.
BAND_BITS = 16
ZERO = -(1 << 20)  # the band of zero rows, which add nothing


class ColumnSum:
    """The sum of some rows, [D]: lanes within a chunk, then chunk after chunk."""

    def __init__(self, lanes: torch.Tensor, total: torch.Tensor) -> None:
        self._lanes, self._total = lanes, total

    def add(self, rows: torch.Tensor) -> None:
        for start in range(0, len(rows), LANE_ROWS):
            part = rows[start : start + LANE_ROWS]
            self._lanes[: len(part)] += part

    def close_chunk(self) -> None:
        lanes = self._lanes
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = lanes[:half] + lanes[half:]
        self._total += lanes[0]
        self._lanes.zero_()

    def total(self, dims: int) -> NDArray[np.float64]:
        summed: NDArray[np.float64] = self._total[:dims].cpu().numpy().copy()
        return summed


class Sums:
    """Folds slabs of rows, in order; [V, D] is never held.

    All buffers are made once: what is allocated anew for each slab, with something small that
    stays behind it, leaves the allocator's heap in pieces, 2 GB of them after 0.8 GB of rows.
    """

    def __init__(self, form: FloatFormat, shape: tuple[int, int], rows_per_slab: int, device: str) -> None:
        import torch  # here, so that planning and querying never load it

        self._torch = torch
        self._form = form
        vocab, self._dims = shape
        # Apple's GPUs have no float64 at all, not even to count its exponents, and no float8.
        self._device = torch.device("cpu" if device == "mps" and form.bits in (8, 64) else device)
        # Of the other formats they count the exponents, and the sums run on the CPU.
        self._exact = torch.device("cpu") if self._device.type == "mps" else self._device
        self._padded = -(-self._dims // LANE_DIMS) * LANE_DIMS
        self._values = self._zeros(rows_per_slab, self._padded)  # columns past D stay zero
        self._squares = self._zeros(rows_per_slab, self._padded)
        self._row_lanes = self._zeros(rows_per_slab, LANE_DIMS)
        self._words = torch.zeros(rows_per_slab * self._dims, dtype=torch.int32, device=self._device)
        self._counts = torch.zeros(WORDS, dtype=torch.int64, device=self._device)
        self._sums: dict[int, ColumnSum] = {}
        self._rows = self._rows_in_chunk = 0
        self._norms = np.empty(vocab)
        self._finite = np.empty(vocab, dtype=bool)

    def add(self, slab: Block) -> None:
        """Fold the next rows; they must not cross a chunk's end."""
        torch = self._torch
        stored = torch.frombuffer(slab, dtype=getattr(torch, self._form.torch_name))
        stored = stored.view(-1, self._dims).to(self._device)  # [R, D]
        self._count(stored)
        values = self._values[: len(stored)]
        values[:, : self._dims].copy_(stored)
        squared, scale = self._squared_norms(values)
        finite = torch.isfinite(squared)
        if not bool(finite.all()):
            values[~finite] = 0.0
        here = slice(self._rows, self._rows + len(stored))
        self._norms[here] = (squared.sqrt() * scale).cpu().numpy()
        self._finite[here] = finite.cpu().numpy()
        self._add_columns(values, magnitude(self._norms[here]))

    def column_totals(self) -> dict[int, NDArray[np.float64]]:
        """Sum of the finite rows of each magnitude, [D]."""
        if self._rows_in_chunk:
            self._close_chunk()
        return {band: self._sums[band].total(self._dims) for band in sorted(self._sums)}

    def norms(self) -> NDArray[np.float64]:
        """‖w_i‖ for every row, [V]; not finite where a row holds NaN or infinity."""
        assert self._rows == len(self._norms), "a stream delivers every row or raises"
        return self._norms

    def finite(self) -> NDArray[np.bool_]:
        """Which rows hold neither NaN nor infinity, [V]."""
        return self._finite

    def exponent_counts(self) -> NDArray[np.int64]:
        """Elements by biased exponent, all rows."""
        return fold_words(self._counts.cpu().numpy(), self._form)

    def _zeros(self, *shape: int) -> torch.Tensor:
        return self._torch.zeros(*shape, dtype=self._torch.float64, device=self._exact)

    def _count(self, stored: torch.Tensor) -> None:
        torch = self._torch
        halves = self._form.bits // 16
        # Little endian: highest last. A byte becomes the upper one of a word.
        upper = stored.view(torch.int16)[:, halves - 1 :: halves] if halves else stored.view(torch.uint8)
        words = self._words[: stored.numel()]
        words.view(upper.shape).copy_(upper)
        if not halves:
            words <<= 8
        words &= WORDS - 1
        self._counts += torch.bincount(words, minlength=WORDS)

    def _squared_norms(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Σ_d w², [R], and the power of two by which its root must be multiplied."""
        torch, scale = self._torch, 1.0
        source = values
        if self._form.bits == 64:
            # Squares of float64 overflow from 1e154 and vanish below 1e-162; those of the
            # shorter formats fit. Powers of two scale without rounding.
            _, exponent = torch.frexp(values.abs().amax(dim=1))
            scale = torch.ldexp(torch.ones_like(exponent, dtype=torch.float64), exponent.clamp(-1000, 1000))
            source = values / scale[:, None]
        squares = torch.mul(source, source, out=self._squares[: len(values)])
        lanes = self._row_lanes[: len(values)]
        lanes.copy_(squares[:, :LANE_DIMS])
        for start in range(LANE_DIMS, self._padded, LANE_DIMS):
            lanes += squares[:, start : start + LANE_DIMS]
        width = LANE_DIMS
        while width > 1:
            width //= 2
            lanes[:, :width] += lanes[:, width : 2 * width]
        return lanes[:, 0], scale

    def _add_columns(self, values: torch.Tensor, bands: NDArray[np.int64]) -> None:
        present = [band for band in np.unique(bands).tolist() if band != ZERO]
        for band in present:
            if band not in self._sums:
                lanes = self._zeros(LANE_ROWS, self._padded)
                self._sums[band] = ColumnSum(lanes, self._zeros(self._padded))
            rows = values
            if len(present) > 1:
                others = self._torch.from_numpy(bands != band).to(self._exact)
                rows = values.masked_fill(others[:, None], 0.0)
            self._sums[band].add(rows)
        self._rows += len(values)
        self._rows_in_chunk += len(values)
        if self._rows_in_chunk == CHUNK_ROWS:
            self._close_chunk()

    def _close_chunk(self) -> None:
        for summed in self._sums.values():
            summed.close_chunk()
        self._rows_in_chunk = 0


def magnitude(norms: NDArray[np.float64]) -> NDArray[np.int64]:
    """The band of each norm: floor((binary exponent + 8) / 16), or ZERO; not finite is zero, too."""
    usable = np.where(np.isfinite(norms), norms, 0.0)
    _, exponents = np.frexp(usable)
    bands = (exponents.astype(np.int64) + BAND_BITS // 2) // BAND_BITS
    return np.where(usable == 0.0, ZERO, bands)


def fold_words(counts: NDArray[np.int64], form: FloatFormat) -> NDArray[np.int64]:
    """Counts by upper 15 bits (exponent and leading mantissa) summed to counts by exponent."""
    folded: NDArray[np.int64] = counts.reshape(form.exponent_values, -1).sum(axis=1)
    return folded
