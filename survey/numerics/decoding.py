"""Stored bytes to numbers, in numpy: for rows that are kept, and for rows that have a scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.dtypes import FloatFormat
from survey.records.blocks import Block


def widen(stored: bytes | Block, float_format: FloatFormat, dims: int) -> NDArray[np.float64]:
    """Rows of little-endian elements as float64, [R, D]; exact for every format."""
    if float_format.bits == 8:
        codes = np.frombuffer(stored, dtype=np.uint8)
        return _VALUES_OF_BYTES[float_format.code][codes].reshape(-1, dims)
    if float_format.code == "BF16":
        words = np.frombuffer(stored, dtype="<u2").astype(np.uint32)
        values: NDArray[np.generic] = (words << 16).view(np.float32)
    else:
        values = np.frombuffer(stored, dtype=f"<f{float_format.item_bytes}")
    with np.errstate(invalid="ignore"):  # widening a signalling NaN quiets it, and warns
        return values.astype(np.float64).reshape(-1, dims)


def biased_exponents(stored: bytes | Block, float_format: FloatFormat, dims: int) -> NDArray[np.integer]:
    """The biased exponent field of every element, [R, D], in the smallest unsigned type."""
    words = np.frombuffer(stored, dtype=f"<u{float_format.item_bytes}")
    shifted = words >> (float_format.bits - 1 - float_format.exponent_bits)
    if float_format.exponent_bits <= 8:
        fields = shifted.astype(np.uint8)  # with 8 bits of exponent this drops the sign
        if float_format.exponent_bits < 8:
            fields &= float_format.exponent_values - 1
        return fields.reshape(-1, dims)
    return (shifted & (float_format.exponent_values - 1)).astype(np.uint16).reshape(-1, dims)


def _values_of_bytes() -> dict[str, NDArray[np.float64]]:
    """The 256 values of each 8-bit format (OCP 8-bit floating point specification, table 1)."""
    codes = np.arange(256)
    e5m2 = (codes << 8).astype("<u2").view("<f2").astype(np.float64)  # the upper half of an F16
    sign, exponent, mantissa = np.where(codes < 128, 1.0, -1.0), (codes >> 3) & 15, codes & 7
    normal = np.ldexp(1.0 + mantissa / 8, exponent - 7)
    e4m3 = sign * np.where(exponent == 0, np.ldexp(mantissa / 8, -6), normal)
    e4m3[(codes & 127) == 127] = np.nan
    return {"F8_E4M3": e4m3, "F8_E5M2": e5m2}


_VALUES_OF_BYTES = _values_of_bytes()
