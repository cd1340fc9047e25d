"""Lengths, angles and spreads of vectors: plain formulas lose digits, or leave the range of float64.

Undefined is None, never NaN: None stands for "no vector", too, so results can be passed on unchecked.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from survey.onepass import kernels
from survey.records.column_field import Vector

NEAR_ZERO = 1e-6  # of the median norm of the rows that are not zero
# A compiler takes half a second to load, and Python adds up 1,000 numbers in 20 µs.
SHORT = 1024

Float = TypeVar("Float", bound=np.floating)
Float64s = NDArray[np.float64]


def length(vector: Float64s) -> float:
    """‖v‖₂ of [N], also if squares would leave the range of float64."""
    scaled, exponent = _scaled(vector)
    with np.errstate(over="ignore"):  # beside an infinity
        squares = scaled * scaled
    return _times_power(math.sqrt(exact_sum(squares)), exponent)


def length_or_none(vector: Float64s | None) -> float | None:
    """‖v‖₂ of [N]; None if there is no vector or its length is not finite."""
    return None if vector is None else finite_or_none(length(vector))


def distance_or_none(a: Float64s | None, b: Float64s | None) -> float | None:
    """‖a − b‖₂ of two [N]; None if one is missing or the distance is not finite."""
    if a is None or b is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # of sums beyond float64
        difference = a - b
    return length_or_none(difference)


def row_lengths(rows: NDArray[Float]) -> NDArray[Float]:
    """‖w_i‖ of each row, [R, D] -> [R]; numpy's pairwise sum has one order on every processor."""
    with np.errstate(over="ignore"):  # a length beyond the rows' format is infinite
        lengths: NDArray[Float] = np.sqrt(np.add.reduce(rows * rows, axis=1))
    return lengths


def row_units(rows: Float64s) -> Float64s:
    """w_i / ‖w_i‖, [R, D]; NaN if a row has no direction."""
    _, exponents = np.frexp(np.abs(rows).max(axis=1, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.ldexp(rows, -exponents)
        units: Float64s = scaled / row_lengths(scaled)[:, None]
    return units


def near_zero_below(norms: Float64s) -> float:
    """The norm below which a row counts as almost zero: NEAR_ZERO × the lower median of those not zero.

    norms: of the finite rows, ascending, [N].
    """
    zero_rows = int(np.searchsorted(norms, 0.0, side="right"))
    norms = norms[zero_rows:]
    return NEAR_ZERO * float(norms[(len(norms) - 1) // 2]) if len(norms) else 0.0


def unit_vector(vector: Float64s | None) -> Float64s | None:
    """v / ‖v‖, [N]; None if there is no vector or it has no direction."""
    if vector is None or not np.isfinite(vector).all() or not vector.any():
        return None
    scaled, _ = _scaled(vector)
    return scaled / length(scaled)


def cosine(a: Float64s | None, b: Float64s | None) -> float | None:
    """Cosine of the angle between two [N], in [-1, 1]; None if one has no direction."""
    u, v = unit_vector(a), unit_vector(b)
    if u is None or v is None:
        return None
    return max(-1.0, min(1.0, math.fsum(u * v)))


def angle_deg(a: Float64s | None, b: Float64s | None) -> float | None:
    """Angle between two [N] in degrees, accurate near 0° and 180°, too; None if one has no direction."""
    u, v = unit_vector(a), unit_vector(b)
    if u is None or v is None:
        return None
    return kahan_angle_deg(length(u - v), length(u + v))


def row_angles_deg(rows: Float64s, direction: Float64s | None) -> list[float | None]:
    """Angle of each row of [R, D] to a direction [D], in degrees; None if either has no direction."""
    target = unit_vector(direction)
    if target is None:
        return [None] * len(rows)
    units = row_units(rows)
    differences, sums = row_lengths(units - target), row_lengths(units + target)
    pairs = zip(differences.tolist(), sums.tolist(), strict=True)
    return [finite_or_none(kahan_angle_deg(*pair)) for pair in pairs]


def kahan_angle_deg(difference: float, total: float) -> float:
    """The angle between unit vectors û and v̂ in degrees, from ‖û − v̂‖ and ‖û + v̂‖.

    W. Kahan, "How Futile are Mindless Assessments of Roundoff" (2006), section 12: an arc cosine would lose
    angles below 1e-8.
    """
    # math's atan2, not numpy's: its vector version has other last bits on other processors.
    return math.degrees(2.0 * math.atan2(difference, total))


def mean_and_std(values: Float64s) -> tuple[float | None, float | None]:
    """Mean, and standard deviation with ddof 1, of [N]; None if there are too few values."""
    if len(values) == 0:
        return None, None
    scaled, exponent = _scaled(values)
    mean = finite_or_none(_times_power(exact_sum(scaled) / len(values), exponent))
    if mean is None or len(values) == 1:
        return mean, None
    return mean, finite_or_none(length(values - mean) / math.sqrt(len(values) - 1))


def finite_or_none(value: float) -> float | None:
    """The value as a float; None if it is NaN or infinite: undefined is NULL."""
    return float(value) if math.isfinite(value) else None


def float32(vector: Float64s) -> Vector:
    """The vector [N] as the catalog stores it; a component beyond float32 becomes infinite."""
    with np.errstate(over="ignore"):
        return vector.astype(np.float32)


def exact_sum(values: Float64s) -> float:
    """Σ of [N], rounded once, so that neither order nor vector width shows; infinite beyond float64.

    By a compiled loop that can nearly always tell, else by Python's.
    """
    if len(values) > SHORT:
        bounds = np.empty(3)
        kernels.exact_sum.add_up(values, bounds)
        total, least, most = bounds.tolist()
        if least == most and math.isfinite(total):
            return float(total)
    try:
        return math.fsum(values.tolist())
    except (OverflowError, ValueError):  # of numbers near the end of float64; of infinities of both signs
        with np.errstate(over="ignore", invalid="ignore"):
            return float(values.sum())


def _times_power(value: float, exponent: int) -> float:
    """value · 2^exponent; infinite beyond float64."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def _scaled(vector: Float64s) -> tuple[Float64s, int]:
    """The vector divided by a power of two, so that its largest element is in [0.5, 1)."""
    _, exponent = math.frexp(float(np.abs(vector).max(initial=0.0)))
    return np.ldexp(vector, -exponent), exponent
