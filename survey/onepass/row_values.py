"""Hashes of rows' values, whatever dtype stores them, and which dtypes hold all values of a matrix.

`survey/records/value_dtypes.py` says what a row's form is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from survey.numerics.decoding import widen
from survey.numerics.dtypes import FloatFormat
from survey.onepass import kernels
from survey.onepass.geometry import GROUP_ROWS
from survey.onepass.row_identity import is_hashed_by_loops

FORM_BITS = {1: "BF16", 2: "F16", 4: "F32"}  # by the number in `forms`
HOLDS = {"F8_E4M3": 1, "F8_E5M2": 2, "F16": 4}  # bits of dtypes that hold all values of many rows
HOLDS_ALL = 7
NARROW_BYTES = 2  # of an element
Unsigned = TypeVar("Unsigned", np.uint16, np.uint32)


@dataclass(frozen=True, slots=True)
class RowValues:
    """What the values of each of R rows are, if they are not stored as bfloat16.

    forms: numbers of FORM_BITS, 0 for none, [R]. hashes: of its bytes in that form, [R]; not set
    if there is none, or if it is stored so.
    """

    forms: NDArray[np.uint8]
    hashes: NDArray[np.uint64]

    @classmethod
    def empty(cls, rows: int) -> RowValues:
        return cls(np.empty(rows, np.uint8), np.empty(rows, np.uint64))

    def part(self, start: int, stop: int) -> RowValues:
        """Views of the rows [start, stop)."""
        return RowValues(self.forms[start:stop], self.hashes[start:stop])


class FormBuffers:
    """Rows of a group in other dtypes, [GROUP_ROWS, D], and the same memory in bytes to be hashed, read-only.

    If the library hashes such rows, these have no columns.
    """

    def __init__(self, dims: int, *, singles: bool = False) -> None:
        """singles: also as float32."""
        self._hashed_by_loops = is_hashed_by_loops(dims * NARROW_BYTES)
        self.narrow, self.narrow_bytes = self._buffer(np.uint16, dims)
        self.halves, self.half_bytes = self._buffer(np.uint16, dims)
        self.singles, self.single_bytes = self._buffer(np.uint32, dims if singles else 0)

    @property
    def memory(self) -> tuple[NDArray[np.unsignedinteger], ...]:
        """What loops take that fold rows as well: `kernels.values.name_group`."""
        upper = self.narrow.reshape(-1)
        upper.flags.writeable = False  # as other words in which exponents are counted
        return self.narrow, self.narrow_bytes, upper, self.halves, self.half_bytes, self.singles

    def _buffer(self, dtype: type[Unsigned], dims: int) -> tuple[NDArray[Unsigned], NDArray[np.uint8]]:
        rows: NDArray[Unsigned] = np.empty((GROUP_ROWS, dims), dtype)
        stored = (
            rows.view(np.uint8) if self._hashed_by_loops and dims else np.empty((GROUP_ROWS, 0), np.uint8)
        )
        stored.flags.writeable = False  # so that numba compiles one specialisation instead of two
        return rows, stored


class RowForms:
    """Names the values of slabs of stored rows [R, D] of floats; threads may share it."""

    def __init__(self, float_format: FloatFormat, dims: int) -> None:
        self._bits, self._dims = float_format.bits, dims
        self._is_bfloat16 = float_format.code == "BF16"
        self.hashed_by_loops = is_hashed_by_loops(dims * NARROW_BYTES)
        self._table = np.zeros(0, np.uint16)
        if self._bits == 8:
            self._table = _as_bfloat16(float_format)

    def name(self, words: NDArray[np.unsignedinteger], values: RowValues) -> int:
        """Set the values [R] of the first rows of words [≥ R, D]; the bits of HOLDS that are true of all.

        Values of bfloat16 are not set, and what holds 8 bits is not told.
        """
        held = np.full(1, HOLDS_ALL if self._bits > 8 else 0, np.uint8)
        words = words.view()
        words.flags.writeable = False  # so that numba compiles one specialisation instead of two
        if self._is_bfloat16:
            kernels.values.keep_eight_bits(words, held)
            return int(held[0])
        buffers = FormBuffers(self._dims, singles=self._bits == 64)
        rows = len(values.forms)
        if self.hashed_by_loops:
            self._name(words, values, buffers, held)
            return int(held[0])
        for start in range(0, rows, GROUP_ROWS):
            here = values.part(start, start + GROUP_ROWS)
            self._name(words[start : start + GROUP_ROWS], here, buffers, held)
            _hash_short(here, buffers)
        return int(held[0])

    def _name(
        self,
        words: NDArray[np.unsignedinteger],
        values: RowValues,
        buffers: FormBuffers,
        held: NDArray[np.uint8],
    ) -> None:
        kernels.values.name_rows(
            words if self._bits == 64 else None,
            words if self._bits == 32 else None,
            words if self._bits == 16 else None,
            words if self._bits == 8 else None,
            self._table,
            buffers.singles,
            buffers.single_bytes,
            buffers.narrow,
            buffers.narrow_bytes,
            buffers.halves,
            buffers.half_bytes,
            values.forms,
            values.hashes,
            held,
        )


def _hash_short(values: RowValues, buffers: FormBuffers) -> None:
    """Hash the rows of one group that the library hashes."""
    for row, form in enumerate(values.forms.tolist()):
        if form:
            stored = (buffers.narrow[row], buffers.halves[row], buffers.singles[row])[form.bit_length() - 1]
            values.hashes[row] = xxhash.xxh3_128_intdigest(stored.tobytes()) & 0xFFFF_FFFF_FFFF_FFFF


def _as_bfloat16(float_format: FloatFormat) -> NDArray[np.uint16]:
    """All words of 8 bits as bfloat16, [256]; a NaN of F8_E4M3 loses its sign, as everywhere."""
    with np.errstate(invalid="ignore"):  # NaN that signal, as in `widen`
        singles = widen(bytes(range(256)), float_format, 1).reshape(-1).astype(np.float32)
    return (singles.view(np.uint32) >> 16).astype(np.uint16)
