"""Stored rows to numbers: their format, and the scale that 8-bit values are multiplied by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.block_formats import BlockFormat
from survey.numerics.decoding import biased_exponents, widen
from survey.numerics.dtypes import FLOATS, FloatFormat
from survey.numerics.row_formats import RowFormat
from survey.numerics.scale import Scale
from survey.records.blocks import Block

DecodedRows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowDecoder:
    """Rows of D = `dims` elements. scale: multiplies the stored values; None if they are the values."""

    row_format: RowFormat
    dims: int
    scale: Scale | None = None

    @property
    def row_bytes(self) -> int:
        return self.row_format.row_bytes(self.dims)

    @property
    def is_decoded(self) -> bool:
        """Whether the stored values become others before they are summed, which the CPU does."""
        return self.scale is not None or isinstance(self.row_format, BlockFormat)

    @property
    def stored_code(self) -> str:
        """What the stored bytes of a row mean: equal bytes of two matrices with the same are equal values.

        But for the factors of a scale.
        """
        code = self.row_format.code
        if isinstance(self.row_format, BlockFormat):
            code = self.row_format.layout or code
        return code if self.scale is None else f"{code} with a scale"

    @property
    def summed_as(self) -> FloatFormat:
        """The format whose loops sum the rows: their own, or that of the values they are decoded to."""
        if self.scale is not None:
            return FLOATS["F64"]  # scaled values are exact in it
        return self.row_format if isinstance(self.row_format, FloatFormat) else FLOATS["F32"]

    def stored_values(self, stored: Block | bytes) -> DecodedRows:
        """The values as stored, without the scale, [R, D]; exact."""
        if isinstance(self.row_format, FloatFormat):
            return widen(stored, self.row_format, self.dims)
        return self.row_format.values(stored, self.dims).astype(np.float64)

    def exponents(self, stored: Block | bytes) -> NDArray[np.integer]:
        """The biased exponent field of every element as stored, [R, D], in the smallest unsigned type.

        Of quantised rows, that of the values in float32.
        """
        if isinstance(self.row_format, FloatFormat):
            return biased_exponents(stored, self.row_format, self.dims)
        values = self.row_format.values(stored, self.dims)
        return biased_exponents(values.tobytes(), FLOATS["F32"], self.dims)

    def scaled(self, stored_values: DecodedRows, row_ids: NDArray[np.int64]) -> DecodedRows:
        """The model's values, from the stored ones [R, D] of the rows with these numbers [R]."""
        return stored_values if self.scale is None else self.scale.times(stored_values, row_ids)

    def exact(self, stored: Block | bytes, first_row: int) -> DecodedRows:
        """The model's values of consecutive rows from `first_row` on, [R, D], in float64; exact."""
        stored_values = self.stored_values(stored)
        return self.scaled(stored_values, np.arange(first_row, first_row + len(stored_values)))

    def values(self, stored: Block, first_row: int) -> NDArray[np.floating]:
        """As `exact`, but in float32 if that is exact, too; read-only."""
        if self.scale is not None:
            return self.exact(stored, first_row)
        if isinstance(self.row_format, BlockFormat):
            return self.row_format.values(stored, self.dims)
        if self.row_format.code == "BF16":
            words = np.frombuffer(stored, dtype="<u2").astype(np.uint32)
            words <<= 16
            return words.view(np.float32).reshape(-1, self.dims)
        if self.row_format.code == "F32":
            return np.frombuffer(stored, dtype="<f4").reshape(-1, self.dims)
        return self.exact(stored, first_row)

    def numbered(self, slabs: Iterable[Block]) -> Iterator[tuple[int, Block]]:
        """Each slab with the number of its first row."""
        first_row = 0
        for slab in slabs:
            yield first_row, slab
            first_row += len(slab) // self.row_bytes
