"""Stored bytes to numbers, in numpy, for the few rows that are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.dtypes import FloatFormat


def widen(stored: bytes, form: FloatFormat, dims: int) -> NDArray[np.float64]:
    """Rows of little-endian elements as float64, [R, D]; exact for every format."""
    if form.code == "BF16":
        values = (np.frombuffer(stored, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(stored, dtype=f"<f{form.item_bytes}")
    with np.errstate(invalid="ignore"):  # widening a signalling NaN quiets it, and says so
        return values.astype(np.float64).reshape(-1, dims)


def biased_exponents(stored: bytes, form: FloatFormat, dims: int) -> NDArray[np.int64]:
    """The biased exponent field of every element, [R, D]."""
    words = np.frombuffer(stored, dtype=f"<u{form.item_bytes}")
    mantissa_bits = form.bits - 1 - form.exponent_bits
    fields = (words >> mantissa_bits) & (form.exponent_values - 1)
    return fields.astype(np.int64).reshape(-1, dims)
