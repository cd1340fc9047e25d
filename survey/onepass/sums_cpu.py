"""The sums of a slab on the CPU, by compiled loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.decoding import widen
from survey.numerics.dtypes import FloatFormat
from survey.onepass.kernels.fold import fold_rows
from survey.onepass.layout import GROUP_ROWS, LANE_DIMS, PROJECTION_DIMS
from survey.onepass.projection import projected_directions, signs
from survey.onepass.sums import SlabSums, bands_of
from survey.records.blocks import Block


class CompiledSums:
    """Sums of slabs of at most `rows_per_slab` rows; threads may share it."""

    def __init__(self, form: FloatFormat, dims: int, rows_per_slab: int) -> None:
        self._form, self._dims = form, dims
        self._groups = rows_per_slab // GROUP_ROWS
        self._words = np.dtype(f"<u{form.item_bytes}")
        self._signs = np.zeros(-(-dims // LANE_DIMS) * LANE_DIMS)
        self._signs[:dims] = signs(dims)
        self._table: NDArray[np.float32] | None = None
        if form.bits == 8:  # all values are exact in float32
            with np.errstate(invalid="ignore"):  # NaN that signal, as in `widen`
                self._table = widen(bytes(range(256)), form, 1).reshape(-1).astype(np.float32)

    def of(self, slab: Block) -> SlabSums:
        """Widen, square and add up one slab of whole rows."""
        words = np.frombuffer(slab, self._words).reshape(-1, self._dims)
        rows = len(words)
        if missing := -rows % GROUP_ROWS:  # the matrix ends within a group: zeros change no sum
            words = np.concatenate([words, np.zeros((missing, self._dims), self._words)])
        squared, sketched, groups, exponents = self._fold(words)
        exponents[0] -= missing * self._dims
        norms = np.sqrt(squared)
        if self._form.bits == 64:
            values, scale = scaled(words.view(np.float64))
            squared, sketched, _, _ = self._fold(values.view(self._words))
            with np.errstate(over="ignore"):
                norms = np.sqrt(squared) * scale
        norms, finite = norms[:rows], np.isfinite(squared[:rows])
        directions = projected_directions(sketched[:rows], squared[:rows])
        bands = bands_of(norms)
        if len(bands) == 1 and finite.all():
            return SlabSums(norms, finite, dict.fromkeys(bands, groups), exponents, directions)
        columns = {}
        for band, wanted in bands.items():
            others = np.ones(len(words), dtype=bool)
            others[:rows] = ~wanted
            alone = words.copy()
            alone[others] = 0  # all bits: the value zero in every format
            columns[band] = self._fold(alone)[2]
        return SlabSums(norms, finite, columns, exponents, directions)

    def _fold(
        self, words: NDArray[np.unsignedinteger]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Squared norms [R], sketches [R, SKETCH_DIMS], column sums [D], exponents of groups of rows."""
        form, squared = self._form, np.empty(len(words))
        sketched = np.empty((len(words), PROJECTION_DIMS))
        groups = np.zeros((self._groups, self._dims))
        counts = np.zeros(form.exponent_values, dtype=np.int64)
        if not words.flags.aligned:
            words = words.copy()
        words.flags.writeable = False  # one type, and not two, to compile for
        fold_rows(
            words.view(f"<u{min(form.item_bytes, 2)}"),
            words if form.bits < 32 else words.view(f"<f{form.item_bytes}"),
            True if form.code == "BF16" else None,
            True if form.code == "F16" else None,
            self._table,
            min(form.bits, 16) - 1 - form.exponent_bits,
            counts,
            self._signs,
            squared,
            sketched,
            groups,
        )
        return squared, sketched, groups[0].copy(), counts


def scaled(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows divided by a power of two, [R, D], and that power, [R].

    Squares of float64 overflow from 1e154 and vanish below 1e-162; those of the shorter formats
    fit. Powers of two scale without rounding.
    """
    with np.errstate(invalid="ignore"):  # NaN that signal
        _, exponents = np.frexp(np.abs(values).max(axis=1))
        scale = np.ldexp(np.ones(len(values)), np.clip(exponents, -1000, 1000))
        return values / scale[:, None], scale
