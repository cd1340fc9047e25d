"""The sums of a slab on the CPU, by compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.numerics.block_formats import BlockFormat, RowLoop
from survey.numerics.decoding import widen
from survey.numerics.dtypes import FloatFormat
from survey.onepass import kernels
from survey.onepass.geometry import GROUP_ROWS, LANE_DIMS, QUAD_ROWS
from survey.onepass.kernels.columns import SUMS, SWEEP_DIMS
from survey.onepass.projection import signs
from survey.onepass.row_identity import Digests
from survey.onepass.row_values import HOLDS_ALL, FormBuffers, RowForms
from survey.onepass.sums import RowSums, SlabSums, rows_by_band
from survey.records.blocks import Block

Columns = NDArray[np.float64]
NO_DIGESTS: Digests = np.empty((0, 2), dtype=np.uint64)
NOT_DECODED: tuple[None, NDArray[np.int64], NDArray[np.float32]] = (
    None,
    np.empty(0, dtype=np.int64),
    np.empty(0, dtype=np.float32),
)


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
        self._floats = np.dtype(f"<f{float_format.item_bytes}") if float_format.bits >= 32 else None
        self._signs = np.zeros(-(-dims // LANE_DIMS) * LANE_DIMS)
        self._signs[:dims] = signs(dims)
        self._forms = RowForms(float_format, dims)
        # These are named while they are in the cache; float64, which is rare, and float16 by another loop.
        is_single = float_format.bits == 32 or float_format.bits == 8
        self._names_in_fold = is_single and self._forms.hashed_by_loops

    def of(self, slab: Block, rows: RowSums, digests: Digests | None = None) -> SlabSums:
        """The sums of one slab of whole rows, [R, D]; what each row has of its own is set in `rows`, [R].

        digests: of the rows, [R, 2], set if given; their lengths are such that loops hash them.
        """
        words = self._in_groups(np.frombuffer(slab, self._words).reshape(-1, self._dims))
        columns, exponents, held_by = self._fold(words, rows, digests)
        if not self._names_in_fold:
            held_by = self._forms.name(words, rows.values)
        if len(exponents):
            exponents[0] -= (len(words) - len(rows.norms)) * self._dims
        if self._float_format.bits < 64:
            return self._summed(columns, rows, lambda: words, exponents, held_by)
        values, scale = scaled(words.view(np.float64))
        lengthened = values.view(self._words)
        units = self._of_finite(self._fold(lengthened, rows)[0], rows, lambda: lengthened)[2]
        with np.errstate(over="ignore"):
            rows.norms[:] *= scale[: len(rows.norms)]
        summed = self._summed(columns, rows, lambda: words, exponents, held_by)
        return replace(summed, units=units)

    def of_quantised(
        self, slab: Block, row_format: BlockFormat, rows: RowSums, digests: Digests | None = None
    ) -> SlabSums:
        """As `of`, of rows whose loop decodes them to this format: their values stay in the cache."""

        def decoded() -> NDArray[np.unsignedinteger]:
            return self._in_groups(row_format.values(slab, self._dims).view(self._words))

        assert row_format.loop is not None
        packed = np.frombuffer(slab, np.uint8).reshape(-1, row_format.row_bytes(self._dims))
        nothing = np.empty((0, self._dims), self._words)
        columns, exponents, held_by = self._fold(nothing, rows, digests, packed, row_format.loop())
        if not self._names_in_fold:
            held_by = self._forms.name(decoded(), rows.values)
        return self._summed(columns, rows, decoded, exponents, held_by)

    def _in_groups(self, words: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        """Rows [R, D], and zeros to whole groups if the matrix ends within one: they change no sum."""
        if missing := -len(words) % GROUP_ROWS:
            return np.concatenate([words, np.zeros((missing, self._dims), self._words)])
        return words if words.flags.aligned else words.copy()

    def _summed(
        self,
        columns: Columns,
        rows: RowSums,
        words: Callable[[], NDArray[np.unsignedinteger]],
        exponents: NDArray[np.int64],
        held_by: int,
    ) -> SlabSums:
        """The sums of one slab. columns: of all rows, [SUMS, D]; words: makes them, in whole groups."""
        bands, by_band = rows_by_band(rows.norms), dict[int, NDArray[np.float64]]()
        if len(bands) == 1 and rows.finite.all():
            by_band = dict.fromkeys(bands, columns[0])
        elif bands:
            stored = words()
            by_band = {band: self._columns(stored, in_band)[0] for band, in_band in bands.items()}
        _, squares, units = self._of_finite(columns, rows, words)
        return SlabSums(by_band, squares, units, exponents, held_by)

    def _of_finite(
        self, columns: Columns, rows: RowSums, words: Callable[[], NDArray[np.unsignedinteger]]
    ) -> Columns:
        """The sums of the finite rows, [SUMS, D]."""
        return columns if rows.finite.all() else self._columns(words(), rows.finite)

    def _columns(self, words: NDArray[np.unsignedinteger], chosen: NDArray[np.bool_]) -> Columns:
        """The sums of chosen rows, [SUMS, D]; the others count as zeros. chosen: of the first rows."""
        others = np.ones(len(words), dtype=bool)
        others[: len(chosen)] = ~chosen
        words = words.copy()
        words[others] = 0  # all bits: the value zero in every format
        return self._fold(words, RowSums.empty(len(chosen)))[0]

    def _fold(
        self,
        words: NDArray[np.unsignedinteger],
        rows: RowSums,
        digests: Digests | None = None,
        packed: NDArray[np.uint8] | None = None,
        loop: RowLoop | None = None,
    ) -> tuple[Columns, NDArray[np.int64], int]:
        """The sums [SUMS, D] and exponent counts of whole groups; what rows have of their own is set.

        packed: the rows, if a loop decodes them; words has no rows then. And bits of HOLDS that are true of
        all rows, if they are named here.
        """
        float_format, stored = self._float_format, words if self._floats is None else words.view(self._floats)
        sums = np.empty((self._groups.bit_length(), SUMS * -(-self._dims // SWEEP_DIMS) * SWEEP_DIMS))
        counts = np.zeros(self._exponent_values, dtype=np.int64)
        if float_format.bits == 8:
            loop, stored = _looked_up(float_format), np.empty((0, self._dims), np.float32)
        address, numbers, table = loop or NOT_DECODED
        is_named = float_format.bits in (8, 32)
        held = np.full(1, HOLDS_ALL if float_format.bits > 8 else 0, np.uint8)
        kernels.fold.fold_rows(
            _read_only(words.view(f"<u{min(float_format.item_bytes, 2)}")),
            _read_only(stored),
            True if float_format.code == "BF16" else None,
            True if float_format.code == "F16" else None,
            address,
            numbers,
            table,
            _read_only(words.view(np.uint8) if packed is None else packed),
            min(float_format.bits, 16) - 1 - float_format.exponent_bits,
            counts,
            self._signs,
            np.zeros((QUAD_ROWS, LANE_DIMS), stored.dtype),
            sums,
            rows.norms,
            rows.finite,
            rows.directions,
            rows.fine_directions,
            NO_DIGESTS if digests is None else digests,
            _read_only(words) if float_format.bits == 32 and packed is None else None,
            FormBuffers(self._dims, singles=address is not None).memory if is_named else None,
            (rows.values.forms, rows.values.hashes, held) if is_named else None,
        )
        return sums[-1].reshape(SUMS, -1)[:, : self._dims].copy(), counts, int(held[0])


@cache
def _looked_up(float_format: FloatFormat) -> RowLoop:
    """The loop that looks up the values of 8 bits; all are exact in float32."""
    with np.errstate(invalid="ignore"):  # NaN that signal, as in `widen`
        table = widen(bytes(range(256)), float_format, 1).reshape(-1).astype(np.float32)
    return kernels.row_loops.address_of_row_loop(kernels.levels.look_up), NOT_DECODED[1], table


def _read_only(words: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written, so that numba compiles one specialisation instead of two."""
    view = words.view()
    view.flags.writeable = False
    return view


def scaled(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows [R, D], each divided by a power of two, and that power, [R].

    Squares of float64 overflow from 1e154 and vanish below 1e-162; those of the shorter formats
    fit. Powers of two scale without rounding.
    """
    with np.errstate(invalid="ignore"):  # NaN that signal
        _, exponents = np.frexp(np.abs(values).max(axis=1))
        scale = np.ldexp(np.ones(len(values)), np.clip(exponents, -1000, 1000))
        return values / scale[:, None], scale
