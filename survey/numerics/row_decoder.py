"""Stored rows to numbers: their format, and the scale that 8-bit values are multiplied by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.decoding import biased_exponents, widen
from survey.numerics.dtypes import FloatFormat
from survey.numerics.scale import Scale
from survey.records.blocks import Block

DecodedRows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowDecoder:
    """Rows of D = `dims` elements. scale: multiplies the stored values; None if they are the values."""

    float_format: FloatFormat
    dims: int
    scale: Scale | None = None

    @property
    def row_bytes(self) -> int:
        return self.dims * self.float_format.item_bytes

    def stored_values(self, stored: Block | bytes) -> DecodedRows:
        """The values as stored, without the scale, [R, D]; exact."""
        return widen(stored, self.float_format, self.dims)

    def exponents(self, stored: Block | bytes) -> NDArray[np.integer]:
        """The biased exponent field of every element as stored, [R, D], in the smallest unsigned type."""
        return biased_exponents(stored, self.float_format, self.dims)

    def scaled(self, stored_values: DecodedRows, row_ids: NDArray[np.int64]) -> DecodedRows:
        """The model's values, from the stored ones [R, D] of the rows with these numbers [R]."""
        return stored_values if self.scale is None else self.scale.times(stored_values, row_ids)

    def exact(self, stored: Block | bytes, first_row: int) -> DecodedRows:
        """The model's values of consecutive rows from `first_row` on, [R, D], in float64; exact."""
        stored_values = self.stored_values(stored)
        return self.scaled(stored_values, np.arange(first_row, first_row + len(stored_values)))

    def values(self, stored: Block, first_row: int) -> NDArray[np.floating]:
        """As `exact`, but in float32 if that is exact, too; read-only."""
        if self.scale is None and self.float_format.code == "BF16":
            words = np.frombuffer(stored, dtype="<u2").astype(np.uint32)
            words <<= 16
            return words.view(np.float32).reshape(-1, self.dims)
        if self.scale is None and self.float_format.code == "F32":
            return np.frombuffer(stored, dtype="<f4").reshape(-1, self.dims)
        return self.exact(stored, first_row)

    def numbered(self, slabs: Iterable[Block]) -> Iterator[tuple[int, Block]]:
        """Each slab with the number of its first row."""
        first_row = 0
        for slab in slabs:
            yield first_row, slab
            first_row += len(slab) // self.row_bytes
