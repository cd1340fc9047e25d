"""The value hashes of rows that a GPU folds: the CPU computes them, from the bytes that it stages.

Of a row that is exact in no shorter dtype it reads the first values alone. Of a tensor that lies on the GPU
it fetches the rows that may be exact in one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from survey.numerics.dtypes import FloatFormat
from survey.onepass.row_identity import StoredRows
from survey.onepass.row_values import HOLDS, RowForms, RowValues
from survey.records.blocks import Block

# Of each format: bits that the next shorter one lacks; the magnitude from which on it lacks no others.
_LOWEST_BITS = {"F64": (29, 0x3810000000000000), "F32": (13, 0x38800000), "F16": (3, 0x400)}
_WORDS = {16: torch.int16, 32: torch.int32, 64: torch.int64}
_OWN_FORM = {"F16": 2}  # of a row that is exact in no shorter dtype


class GpuNames:
    """Names the values of rows [R, D] of a float."""

    def __init__(self, float_format: FloatFormat, dims: int) -> None:
        self._format, self._dims = float_format, dims
        self._words = np.dtype(f"<u{float_format.item_bytes}")
        self._forms = RowForms(float_format, dims)

    def of_bytes(self, stored: Block, values: RowValues) -> int:
        """As `RowForms.name`, of rows in the memory of the host."""
        return self._forms.name(np.frombuffer(stored, self._words).reshape(-1, self._dims), values)

    def of_tensor(self, stored: torch.Tensor, fetched: StoredRows, values: RowValues) -> int:
        """The same of rows on the GPU. stored: their bytes. fetched: copies some of them to the host."""
        rows = len(values.forms)
        if self._format.code == "BF16":  # what the first row is not, all are not
            held_by = self._name(range(1), fetched, RowValues.empty(1))
            is_open = held_by & (HOLDS["F8_E4M3"] | HOLDS["F8_E5M2"])
            return self._name(range(rows), fetched, values) if is_open else held_by
        candidates = self._candidates(stored.view(rows, -1)).cpu().numpy()
        values.forms[:] = _OWN_FORM.get(self._format.code, 0)
        held_by = HOLDS["F16"] if self._format.code == "F16" else 0
        if not candidates.any():
            return held_by
        chosen = RowValues.empty(int(candidates.sum()))
        held_by_these = self._name(np.flatnonzero(candidates).tolist(), fetched, chosen)
        values.forms[candidates], values.hashes[candidates] = chosen.forms, chosen.hashes
        return held_by_these if candidates.all() else held_by_these & held_by

    def _name(self, rows: Sequence[int], fetched: StoredRows, values: RowValues) -> int:
        return self.of_bytes(bytearray().join(bytes(block) for block in fetched(rows)), values)

    def _candidates(self, stored: torch.Tensor) -> torch.Tensor:
        """Which rows may be exact in a shorter dtype, [R]: all that are, and few others."""
        if self._format.bits == 8:
            return torch.ones(len(stored), dtype=torch.bool)
        bits, normal = _LOWEST_BITS[self._format.code]
        words = stored.view(_WORDS[self._format.bits])
        is_tiny = (words & ((1 << (self._format.bits - 1)) - 1)) < normal
        return ((words & ((1 << bits) - 1)) == 0).logical_or_(is_tiny).all(dim=1)
