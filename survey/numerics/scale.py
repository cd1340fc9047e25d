"""Scales of 8-bit matrices: one factor for the tensor, for each row, or for each tile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from survey.numerics.decoding import widen
from survey.numerics.dtypes import FLOATS
from survey.records.tensors import ScaleSpec


@dataclass(frozen=True, slots=True)
class Scale:
    """factors: [P, Q], one for each tile of `rows` × `dims` elements; the last tiles may be cut."""

    factors: NDArray[np.float64]
    rows: int
    dims: int

    def times(self, values: NDArray[np.float64], row_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """The model's values of the rows with these numbers [R], from stored ones [R, D]; exact for FP8."""
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is counted, not hidden
            scaled: NDArray[np.float64] = values * self._factors_of(row_ids, values.shape[1])
        return scaled

    def summed(self, row_ids: NDArray[np.int64], dims: int) -> NDArray[np.float64]:
        """Σ of the factors of the rows with these numbers [R], [D]."""
        with np.errstate(invalid="ignore", over="ignore"):
            factors: NDArray[np.float64] = np.add.reduce(self._factors_of(row_ids, dims), axis=0)
        return factors

    def marks(self, vocab_rows: int, dims: int) -> NDArray[np.uint64]:
        """A hash of the factors of each of V rows, [V]: it tells apart equal bytes that are other values.

        A row of one factor has that one's, however large the tiles are.
        """
        by_tile = [
            factors[:1] if np.all(factors == factors[0]) else np.repeat(factors, self.dims)[:dims]
            for factors in self.factors
        ]
        hashes = np.array([xxhash.xxh3_64_intdigest(factors.tobytes()) for factors in by_tile], np.uint64)
        marks: NDArray[np.uint64] = hashes[np.arange(vocab_rows) // self.rows]
        return marks

    def _factors_of(self, row_ids: NDArray[np.int64], dims: int) -> NDArray[np.float64]:
        """[R, D]."""
        by_tile = self.factors[row_ids // self.rows]  # [R, Q]
        return np.repeat(by_tile, self.dims, axis=1)[:, :dims]


def scale_of(spec: ScaleSpec, stored: bytes) -> Scale:
    """The scale from its bytes in the file, factors [P, Q]."""
    if spec.tensor.dtype == "F8_E8M0":  # an exponent alone, 255 stands for NaN (OCP MX, section 5.4.1)
        exponents = np.frombuffer(stored, dtype=np.uint8).astype(np.int64)
        factors = np.where(exponents == 255, np.nan, np.ldexp(1.0, exponents - 127))
    else:
        factors = widen(stored, FLOATS[spec.tensor.dtype], 1)
    if spec.divides:
        with np.errstate(divide="ignore"):  # values that are not finite are counted, not hidden
            factors = 1.0 / factors
    return Scale(factors.reshape(spec.tiles), *spec.tile)
