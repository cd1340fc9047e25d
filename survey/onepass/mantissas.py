"""Mantissas of the elements of some rows, counted: whole matrices would take longer than all other sums.

A mantissa is cut into fields of at most ten bits, the upper ones first, and each field's values are counted.
Rows are every 2^k-th of the matrix, of LEAST_ELEMENTS or more: the same, whatever device or thread comes by.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.dtypes import FloatFormat
from survey.onepass import kernels
from survey.records.blocks import Block

FIELD_BITS = 10
LEAST_ELEMENTS = 1 << 20  # elements


def mantissa_bits(float_format: FloatFormat) -> int:
    return float_format.bits - 1 - float_format.exponent_bits


class MantissaCounts:
    """Counts the mantissas of a matrix [V, D]: [fields, 1024]; threads may share it."""

    def __init__(self, float_format: FloatFormat, shape: tuple[int, int]) -> None:
        rows, self._dims = shape
        self._bits = mantissa_bits(float_format)
        self._words = np.dtype(f"<u{float_format.item_bytes}")
        self._step = 1
        while rows // (2 * self._step) * self._dims >= LEAST_ELEMENTS:
            self._step *= 2

    def rows_from(self, first_row: int, rows: int) -> range:
        """Those of `rows` rows from `first_row` on that are counted, numbered from 0."""
        return range(-first_row % self._step, rows, self._step)

    def of(self, stored: Block, first_row: int) -> NDArray[np.int64]:
        """The counts of those rows of a slab [R, D] that are counted. stored: its bytes."""
        rows = len(stored) // (self._dims * self._words.itemsize)
        return self._of(stored, self.rows_from(first_row, rows))

    def of_chosen(self, stored: Block) -> NDArray[np.int64]:
        """The counts of all rows [R, D]. stored: their bytes."""
        return self._of(stored, range(len(stored) // (self._dims * self._words.itemsize)))

    def _of(self, stored: Block, rows: range) -> NDArray[np.int64]:
        counts = self.none()
        words = np.frombuffer(stored, self._words).reshape(-1, self._dims)
        kernels.mantissas.count_fields(words, rows.start, rows.step, self._bits, counts)
        return counts

    def none(self) -> NDArray[np.int64]:
        return np.zeros((-(-self._bits // FIELD_BITS), 1 << FIELD_BITS), np.int64)
