"""The shape of a cloud of rows a second time, from the definitions, pair by pair; nothing of ours is used."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LONGEST = 2.0**1000
MANY = 500
LEAST = 2.0**-900  # below it mean squares lose their bits
ROUNDING = 2.0**-44  # of the mean square: a smaller variance is none


def shape_columns(values: Floats, finite: NDArray[np.bool_], dead: NDArray[np.bool_]) -> dict[str, Any]:
    """Of a matrix [V, D]; finite, dead: of its rows, [V]."""
    outliers, largest, participation = _variances(values[finite])
    return {
        "mean_cosine": mean_cosine(values[finite]),
        "live_mean_cosine": mean_cosine(values[finite & ~dead]),
        "outlier_dims": outliers,
        "top_dim_variance_share": largest,
        "variance_participation": participation,
        "centroid_top3_share": _top3_share(values[finite]),
    }


def mean_cosine(rows: Floats) -> float | None:
    lengths = [math.hypot(*row) for row in rows.tolist()]
    if any(length > LONGEST or 0 < length < 1 / LONGEST for length in lengths):
        return None
    units = np.array([row / length for row, length in zip(rows, lengths, strict=True) if length > 0])
    if len(units) < 2:
        return None
    if len(units) > MANY:  # the same sum, by columns
        squares = [math.fsum(column) ** 2 for column in units.T.tolist()]
        return (math.fsum(squares) - len(units)) / (len(units) * (len(units) - 1))
    pairs = (units @ units.T)[np.tril_indices(len(units), -1)].tolist()
    return math.fsum(pairs) / len(pairs)


def _variances(rows: Floats) -> tuple[int | None, float | None, float | None]:
    if not len(rows):
        return None, None, None
    variances, mean_squares = [], []
    for column in rows.T.tolist():
        mean_square = math.fsum(value * value for value in column) / len(column)
        if not math.isfinite(mean_square):
            return None, None, None
        mean_squares.append(mean_square)
        mean = math.fsum(column) / len(column)
        variance = math.fsum((value - mean) ** 2 for value in column) / len(column)
        variances.append(variance if variance >= ROUNDING * mean_square else 0.0)
    if rows.any() and max(mean_squares) < LEAST:
        return None, None, None
    if not max(variances):
        return 0, None, None
    shares = [variance / max(variances) for variance in variances]
    outliers = sum(variance > 10 * float(np.median(variances)) for variance in variances)
    return outliers, 1 / math.fsum(shares), math.fsum(shares) ** 2 / math.fsum(s * s for s in shares)


def _top3_share(rows: Floats) -> float | None:
    if not len(rows):
        return None
    mean = [abs(math.fsum(column) / len(rows)) for column in rows.T.tolist()]
    if not max(mean) or not math.isfinite(max(mean)):
        return None
    squares = sorted((value / max(mean)) ** 2 for value in mean)
    return math.fsum(squares[-3:]) / math.fsum(squares)


def bit_columns(
    raw: bytes, code: str, shape: tuple[int, int], bits: int, exponent_bits: int
) -> dict[str, Any]:
    """Of all exponents, and of the mantissas in every 2^k-th row: of 2^20 elements or all."""
    words = np.frombuffer(raw, f"<u{bits // 8}").astype(np.uint64).reshape(shape)
    mantissa_bits, step = bits - 1 - exponent_bits, 1
    while shape[0] // (2 * step) * shape[1] >= 1 << 20:
        step *= 2
    fields = []
    for stop in range(mantissa_bits, 0, -10):
        start = max(0, stop - 10)
        fields.append((words[::step] >> np.uint64(start)) & np.uint64((1 << (stop - start)) - 1))
    exponents = (words >> np.uint64(mantissa_bits)) & np.uint64((1 << exponent_bits) - 1)
    return {
        "mantissa_entropy_bits": math.fsum(entropy(field.ravel().tolist()) for field in fields),
        "compressed_bits_per_weight": 1 + mantissa_bits + entropy(exponents.ravel().tolist()),
    }


def entropy(items: list[Any]) -> float:
    shares = [count / len(items) for count in Counter(items).values()]
    return math.fsum(share * math.log2(1 / share) for share in shares)
