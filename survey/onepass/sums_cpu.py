"""The sums of a slab on the CPU, by compiled loops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from survey.numerics.decoding import widen
from survey.numerics.dtypes import FloatFormat
from survey.onepass import kernels
from survey.onepass.geometry import DIRECTION_DIMS, GROUP_ROWS, LANE_DIMS, PROJECTION_DIMS
from survey.onepass.projection import projected_directions, signs
from survey.onepass.sums import SlabSums, rows_by_band
from survey.records.blocks import Block


class _Folded(NamedTuple):
    """Squared norms [R], projections [R, 32], fine directions [R, 128], column sums [D], exponent counts."""

    squared: NDArray[np.float64]
    projected: NDArray[np.float64]
    fine: NDArray[np.uint16]
    groups: NDArray[np.float64]
    exponents: NDArray[np.int64]


class CompiledSums:
    """Sums of slabs of at most `rows_per_slab` rows; threads may share it."""

    def __init__(
        self, float_format: FloatFormat, dims: int, rows_per_slab: int, *, exponents: bool = True
    ) -> None:
        """exponents: whether they are counted."""
        self._float_format, self._dims = float_format, dims
        self._exponent_values = float_format.exponent_values if exponents else 0
        self._groups = rows_per_slab // GROUP_ROWS
        self._words = np.dtype(f"<u{float_format.item_bytes}")
        self._signs = np.zeros(-(-dims // LANE_DIMS) * LANE_DIMS)
        self._signs[:dims] = signs(dims)
        self._table: NDArray[np.float32] | None = None
        if float_format.bits == 8:  # all values are exact in float32
            with np.errstate(invalid="ignore"):  # NaN that signal, as in `widen`
                self._table = widen(bytes(range(256)), float_format, 1).reshape(-1).astype(np.float32)

    def of(self, slab: Block) -> SlabSums:
        """The sums of one slab of whole rows, [R, D]."""
        words = np.frombuffer(slab, self._words).reshape(-1, self._dims)
        rows = len(words)
        if missing := -rows % GROUP_ROWS:  # the matrix ends within a group: zeros change no sum
            words = np.concatenate([words, np.zeros((missing, self._dims), self._words)])
        squared, projected, fine, groups, exponents = self._fold(words)
        if missing and len(exponents):
            exponents[0] -= missing * self._dims
        norms = np.sqrt(squared)
        if self._float_format.bits == 64:
            values, scale = scaled(words.view(np.float64))
            squared, projected, fine, _, _ = self._fold(values.view(self._words))
            with np.errstate(over="ignore"):
                norms = np.sqrt(squared) * scale
        norms, finite = norms[:rows], np.isfinite(squared[:rows])
        directions, fine = projected_directions(projected[:rows], squared[:rows]), fine[:rows]
        bands = rows_by_band(norms)
        if len(bands) == 1 and finite.all():
            return SlabSums(norms, finite, dict.fromkeys(bands, groups), exponents, directions, fine)
        columns = {}
        for band, in_band in bands.items():
            others = np.ones(len(words), dtype=bool)
            others[:rows] = ~in_band
            band_words = words.copy()
            band_words[others] = 0  # all bits: the value zero in every format
            columns[band] = self._fold(band_words).groups
        return SlabSums(norms, finite, columns, exponents, directions, fine)

    def _fold(self, words: NDArray[np.unsignedinteger]) -> _Folded:
        """What the compiled loop makes of whole groups."""
        float_format, squared = self._float_format, np.empty(len(words))
        projected = np.empty((len(words), PROJECTION_DIMS))
        fine = np.empty((len(words), DIRECTION_DIMS), dtype=np.uint16)
        groups = np.zeros((self._groups, self._dims))
        counts = np.zeros(self._exponent_values, dtype=np.int64)
        if not words.flags.aligned:
            words = words.copy()
        words.flags.writeable = False  # so that numba compiles one specialisation instead of two
        kernels.fold.fold_rows(
            words.view(f"<u{min(float_format.item_bytes, 2)}"),
            words if float_format.bits < 32 else words.view(f"<f{float_format.item_bytes}"),
            True if float_format.code == "BF16" else None,
            True if float_format.code == "F16" else None,
            self._table,
            min(float_format.bits, 16) - 1 - float_format.exponent_bits,
            counts,
            self._signs,
            squared,
            projected,
            fine,
            groups,
        )
        return _Folded(squared, projected, fine, groups[0].copy(), counts)


def scaled(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows [R, D], each divided by a power of two, and that power, [R].

    Squares of float64 overflow from 1e154 and vanish below 1e-162; those of the shorter formats
    fit. Powers of two scale without rounding.
    """
    with np.errstate(invalid="ignore"):  # NaN that signal
        _, exponents = np.frexp(np.abs(values).max(axis=1))
        scale = np.ldexp(np.ones(len(values)), np.clip(exponents, -1000, 1000))
        return values / scale[:, None], scale
