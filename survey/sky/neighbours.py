"""Rows that are close to a reference row h: by their dot product in bf16, and by their exponents.

The dot-product test asks which rows bf16 cannot tell from h when the hidden state points at h:
bf16(t · h) = bf16(h · h). The notebook let the device sum in bf16, so its answer hung on the order of
summation. Here t · h is computed in float64 and rounded once, to nearest, ties to even: no order shows.
It is a slab across h, not a ball around it: near h · h = 0.1377 bf16 steps by 9.8e-4, so every row within
±0.35 % of h · h along h passes, however far away it stands. The exponent ladder is a ball.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.row_decoder import DecodedRows, RowDecoder
from survey.records.blocks import Block

RUNGS = 17  # k = 0 … 16


@dataclass(frozen=True, slots=True)
class Neighbours:
    """dots: t · h in float64, [V]. ladder: rows whose exponents are all within k of those of h."""

    dots: DecodedRows
    ladder: tuple[int, ...]


def neighbours(slabs: Iterable[Block], rows: RowDecoder, reference: int, stored: bytes) -> Neighbours:
    """Compare every row with the reference: its values by scale, its exponents as stored (`stored`)."""
    direction = rows.exact(stored, reference)[0]
    exponents = _exponents(stored, rows)[0]
    dots: list[DecodedRows] = []
    rungs = np.zeros(RUNGS + 1, dtype=np.int64)
    for first, slab in rows.numbered(slabs):
        with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite match nothing
            dots.append(rows.exact(slab, first) @ direction)
        found = _exponents(slab, rows)
        apart = (np.maximum(found, exponents) - np.minimum(found, exponents)).max(axis=1)
        rungs += np.bincount(np.minimum(apart, RUNGS), minlength=RUNGS + 1)
    return Neighbours(np.concatenate(dots), tuple(np.cumsum(rungs[:RUNGS]).tolist()))


def round_to_bf16(values: DecodedRows) -> DecodedRows:
    """The nearest bf16 number, ties to even, as float64; one rounding (torch goes through float32: two)."""
    _, exponent = np.frexp(values)  # |value| in [2^(e-1), 2^e)
    # 8 significant bits; below 2^-126 the step stays 2^-133. A NaN's exponent is 0, and it stays NaN.
    step = np.maximum(exponent - 8, -133)
    rounded = np.ldexp(np.rint(np.ldexp(values, -step)), step)
    largest = np.ldexp(255.0, 120)
    bounded: DecodedRows = np.where(np.abs(rounded) > largest, np.copysign(np.inf, rounded), rounded)
    return bounded


def _exponents(stored: Block | bytes, rows: RowDecoder) -> NDArray[np.integer]:
    """The biased exponent field of every element, [R, D], in the smallest type."""
    form, dims = rows.form, rows.dims
    words = np.frombuffer(stored, dtype=f"<u{form.item_bytes}")
    shifted = words >> (form.bits - 1 - form.exponent_bits)
    if form.exponent_bits <= 8:
        small = shifted.astype(np.uint8)
        if form.exponent_bits < 8:
            small &= form.exponent_values - 1
        return small.reshape(-1, dims)
    return (shifted & (form.exponent_values - 1)).astype(np.uint16).reshape(-1, dims)
