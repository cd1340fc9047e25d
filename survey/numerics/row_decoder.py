"""How the stored bytes of rows become numbers: their format, and the scale of what is stored in 8 bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.decoding import widen
from survey.numerics.dtypes import FloatFormat
from survey.numerics.scale import Scale
from survey.records.blocks import Block

DecodedRows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowDecoder:
    """Rows of D = `dims` elements. scale: what their values are multiplied by."""

    form: FloatFormat
    dims: int
    scale: Scale | None = None

    @property
    def row_bytes(self) -> int:
        return self.dims * self.form.item_bytes

    def exact(self, stored: Block | bytes, first: int) -> DecodedRows:
        """The values of rows from row `first` on, [R, D], in float64; exact."""
        values = widen(stored, self.form, self.dims)
        if self.scale is None:
            return values
        return self.scale.times(values, np.arange(first, first + len(values)))

    def values(self, stored: Block, first: int) -> NDArray[np.floating]:
        """The same in float32 where that is exact, to be read only."""
        if self.scale is None and self.form.code == "BF16":
            words = np.frombuffer(stored, dtype="<u2").astype(np.uint32)
            words <<= 16
            return words.view(np.float32).reshape(-1, self.dims)
        if self.scale is None and self.form.code == "F32":
            return np.frombuffer(stored, dtype="<f4").reshape(-1, self.dims)
        return self.exact(stored, first)

    def numbered(self, slabs: Iterable[Block]) -> Iterator[tuple[int, Block]]:
        """Each slab with the number of its first row."""
        first = 0
        for slab in slabs:
            yield first, slab
            first += len(slab) // self.row_bytes
