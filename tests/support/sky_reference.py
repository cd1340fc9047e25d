"""The sky a second time, straight from the definitions, in float64; imports nothing of ours.

The covariance is of centred rows, the eigenvectors all of them, angles by asin as in the notebook, bf16 by
comparing exact fractions with the two neighbours.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Reference(NamedTuple):
    """Eigenvalues (descending) and vectors of the finite rows; coordinates of all rows."""

    values: Floats
    vectors: Floats
    lat: Floats
    lon: Floats
    radius: Floats


def reference_sky(rows: Floats, north: int = 2, meridian: int = 1, equinox: int = 3) -> Reference:
    """The notebook in float64; the sign of a component by its entry of largest magnitude."""
    finite = np.isfinite(rows).all(axis=1)
    centred = rows[finite] - rows[finite].mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / finite.sum())
    values, vectors = values[::-1], vectors[:, ::-1]

    def axis(number: int) -> Floats:
        vector = vectors[:, abs(number) - 1]
        vector = vector * np.sign(vector[np.argmax(np.abs(vector))])
        return vector if number > 0 else -vector

    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, z = rows @ axis(meridian), rows @ axis(equinox), rows @ axis(north)
        radius = np.sqrt(x**2 + y**2 + z**2)
        lat, lon = np.degrees(np.arcsin(np.clip(z / radius, -1, 1))), np.degrees(np.arctan2(y, x))
    return Reference(values, vectors, lat, lon, radius)


def nearest_bf16(value: float) -> float:
    """Round to nearest, ties to even, by exact comparison; overflow to infinity."""
    if not np.isfinite(value) or value == 0:
        return value
    magnitude = Fraction(abs(value))
    exponent = -126
    while exponent < 128 and Fraction(2) ** (exponent + 1) <= magnitude:
        exponent += 1
    step = Fraction(2) ** (exponent - 7)
    below = magnitude // step
    rest = magnitude / step - below
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2):
        below += 1
    if below * step >= Fraction(2) ** 128:
        return float(np.copysign(np.inf, value))
    return float(np.copysign(float(below * step), value))


def reference_cluster(rows: Floats, ref: int) -> list[int]:
    """Rows whose dot product with the reference, summed exactly, rounds to the same bf16 number."""

    def dot(row: Floats) -> float:
        if not np.isfinite(row).all():
            return np.nan
        return float(
            sum(
                (Fraction(a) * Fraction(b) for a, b in zip(row.tolist(), rows[ref].tolist(), strict=True)),
                Fraction(0),
            )
        )

    expected = nearest_bf16(dot(rows[ref]))
    return [token for token, row in enumerate(rows) if nearest_bf16(dot(row)) == expected]


def reference_ladder(
    words: NDArray[np.integer], exponent_bits: int, mantissa_bits: int, ref: int
) -> list[int]:
    """Rows whose exponent fields all lie within k of the reference's, k = 0 … 16; words: [V, D] of bits."""
    fields = (words.astype(np.uint64) >> np.uint64(mantissa_bits)) & np.uint64((1 << exponent_bits) - 1)
    apart = np.abs(fields.astype(np.int64) - fields[ref].astype(np.int64)).max(axis=1)
    return [int((apart <= k).sum()) for k in range(17)]
