"""What one pass over a matrix leaves behind; every measure is computed from this."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from survey.records.columns import Vector

NEAR_ZERO = 1e-6  # of the median norm


# ---------------------------------------------------------------- exact sums over a few numbers
# math.fsum rounds once, so neither the order nor the processor's vector width shows in a result.


def length(vector: NDArray[np.float64]) -> float:
    """‖v‖₂, also where squares would leave the range of float64."""
    scaled, exponent = _scaled(vector)
    root = math.sqrt(_added(scaled * scaled))
    return math.ldexp(root, exponent) if root < 1.0 or exponent < 1000 else root * 2.0**exponent


def row_lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """‖w_i‖ of each row, [R, D] -> [R]; numpy's pairwise sum has one order on every processor."""
    lengths: NDArray[np.float64] = np.sqrt(np.add.reduce(rows * rows, axis=1))
    return lengths


def row_units(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """w_i / ‖w_i‖, [R, D]; NaN where a row has no direction."""
    _, exponents = np.frexp(np.abs(rows).max(axis=1, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = np.ldexp(rows, -exponents)
        units: NDArray[np.float64] = scaled / row_lengths(scaled)[:, None]
    return units


def near_zero_below(norms: NDArray[np.float64]) -> float:
    """The norm below which a row counts as almost zero: NEAR_ZERO × the lower median of finite norms, which
    come ascending."""
    return NEAR_ZERO * float(norms[(len(norms) - 1) // 2]) if len(norms) else 0.0


def unit_vector(vector: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """v / ‖v‖, or None where it has no direction."""
    if vector is None or not np.isfinite(vector).all() or not vector.any():
        return None
    scaled, _ = _scaled(vector)
    return scaled / length(scaled)


def cosine(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float | None:
    """Cosine of the angle between two vectors, in [-1, 1]; None where one has no direction."""
    u, v = unit_vector(a), unit_vector(b)
    if u is None or v is None:
        return None
    return max(-1.0, min(1.0, math.fsum(u * v)))


def angle_deg(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float | None:
    """Angle between two vectors in degrees: 2·atan2(‖û−v̂‖, ‖û+v̂‖), exact near 0° and 180°.

    W. Kahan, "How Futile are Mindless Assessments of Roundoff" (2006), section 12. None where a
    vector has no direction.
    """
    u, v = unit_vector(a), unit_vector(b)
    if u is None or v is None:
        return None
    return math.degrees(2.0 * math.atan2(length(u - v), length(u + v)))


def mean_and_std(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Mean, and standard deviation with ddof 1; None where too few values are given."""
    if len(values) == 0:
        return None, None
    scaled, exponent = _scaled(values)
    mean = number(math.ldexp(_added(scaled) / len(values), exponent))
    if mean is None or len(values) == 1:
        return mean, None
    return mean, number(length(values - mean) / math.sqrt(len(values) - 1))


def number(value: float) -> float | None:
    """The value, or None where it is NaN or infinite: undefined is NULL."""
    return float(value) if math.isfinite(value) else None


def float32(vector: NDArray[np.float64]) -> Vector:
    """The vector as it is stored; a component beyond float32 becomes infinite."""
    with np.errstate(over="ignore"):
        return vector.astype(np.float32)


def _added(values: NDArray[np.float64]) -> float:
    """Σ, rounded once: by a compiled loop that nearly always can tell, else by Python."""
    from survey.onepass.kernels.exact_sum import add_up  # here, so that planning never loads a compiler

    found = np.empty(3)
    add_up(values, found)
    total, least, most = found.tolist()
    return total if least == most and math.isfinite(total) else math.fsum(values.tolist())


def _scaled(vector: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The vector divided by a power of two, so that its largest element is in [0.5, 1)."""
    _, exponent = math.frexp(float(np.abs(vector).max(initial=0.0)))
    return np.ldexp(vector, -exponent), exponent
