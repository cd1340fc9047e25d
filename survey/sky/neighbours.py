"""Rows that are close to a reference row h: by their dot product in bf16, and by their exponents.

The dot-product test selects the rows t that bf16 cannot tell from h when the hidden state points at h:
bf16(t · h) = bf16(h · h). The notebook let the device sum in bf16, so its answer depended on the order of
summation. Here t · h is computed in float64 and rounded once, to nearest, ties to even: no order shows.
It selects a layer across h, not a ball around it: near h · h = 0.1377 bf16 steps by 9.8e-4, so every row
within ±0.35 % of h · h along h passes, however far away it stands. The exponent ladder is a ball.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from survey.numerics.row_decoder import DecodedRows, RowDecoder
from survey.records.blocks import Block

RUNGS = 17  # k = 0 … 16


@dataclass(frozen=True, slots=True)
class Neighbours:
    """dots: t · h in float64, [V]. ladder: for each k the number of rows whose exponents are all within k."""

    dots: DecodedRows
    ladder: tuple[int, ...]


def neighbours(slabs: Iterable[Block], decoder: RowDecoder, reference: int, stored: bytes) -> Neighbours:
    """Compare every row with row `reference`: its values with the scale, its exponents as stored.

    slabs: all rows, in order. stored: the bytes of the reference row.
    """
    direction = decoder.exact(stored, reference)[0]
    reference_exponents = decoder.exponents(stored)[0]
    dots: list[DecodedRows] = []
    rungs = np.zeros(RUNGS + 1, dtype=np.int64)
    for first_row, slab in decoder.numbered(slabs):
        with np.errstate(invalid="ignore", over="ignore"):  # rows that are not finite match nothing
            dots.append(decoder.exact(slab, first_row) @ direction)
        exponents = decoder.exponents(slab)
        larger, smaller = (
            np.maximum(exponents, reference_exponents),
            np.minimum(exponents, reference_exponents),
        )
        differences = (larger - smaller).max(axis=1)  # unsigned, so never the smaller minus the larger
        rungs += np.bincount(np.minimum(differences, RUNGS), minlength=RUNGS + 1)
    return Neighbours(np.concatenate(dots), tuple(np.cumsum(rungs[:RUNGS]).tolist()))


def round_to_bf16(values: DecodedRows) -> DecodedRows:
    """The nearest bf16 numbers, ties to even, as float64, in the shape of `values`.

    One rounding; torch goes through float32, which makes two.
    """
    _, exponent = np.frexp(values)  # |value| in [2^(e-1), 2^e)
    # 8 significant bits; below 2^-126 the step stays 2^-133. A NaN's exponent is 0, and it stays NaN.
    step = np.maximum(exponent - 8, -133)
    rounded = np.ldexp(np.rint(np.ldexp(values, -step)), step)
    largest = np.ldexp(255.0, 120)
    bounded: DecodedRows = np.where(np.abs(rounded) > largest, np.copysign(np.inf, rounded), rounded)
    return bounded
