"""What one pass over a matrix leaves behind; every measure is computed from this."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from survey.dtypes import FloatFormat
from survey.floats import biased_exponents, widen
from survey.row_identity import RowIdentity

SWEEP_BYTES = 4 << 20  # of float64, at a time, while the black holes' vectors are read back


@dataclass(frozen=True, slots=True)
class Holes:
    """Sums over the black holes' vectors; not finite vectors are left out of the sums.

    dead_total: Σ population × vector, [D]. vector_total: Σ vector, [D]. finite: which vectors
    are, [K]. exponents_dead: counts by biased exponent, weighted by population.
    """

    dead_total: NDArray[np.float64]
    vector_total: NDArray[np.float64]
    finite: NDArray[np.bool_]
    exponents_dead: NDArray[np.int64]
    shared_exponent_dims: int


@dataclass(frozen=True)
class Folded:
    """[V, D] folded: column sum [D], row norms [V], exponent counts, identical rows."""

    form: FloatFormat
    vocab_rows: int
    hidden_dim: int
    total: NDArray[np.float64]
    norms: NDArray[np.float64]
    exponents: NDArray[np.int64]
    identity: RowIdentity

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """Which rows hold neither NaN nor infinity, [V]."""
        return np.isfinite(self.norms)

    @cached_property
    def members(self) -> list[list[int]]:
        """The rows of each black hole, in order of first repetition."""
        return self.identity.holes

    @cached_property
    def dead(self) -> NDArray[np.bool_]:
        """Which rows are in a black hole, [V]."""
        dead = np.zeros(self.vocab_rows, dtype=bool)
        for rows in self.members:
            dead[rows] = True
        return dead

    @cached_property
    def holes(self) -> Holes:
        """One sweep over the kept vectors."""
        dims = self.hidden_dim
        populations = np.array([len(rows) for rows in self.members], dtype=np.int64)
        dead_total, vector_total = np.zeros(dims), np.zeros(dims)
        counts = np.zeros(self.form.exponent_values, dtype=np.int64)
        low, high = np.full(dims, self.form.exponent_values), np.full(dims, -1)
        finite = np.array([bool(self.finite[rows[0]]) for rows in self.members], dtype=bool)
        at = 0
        for stored in self.identity.vectors(self._rows_at_once):
            fields = biased_exponents(stored, self.form, dims)
            low, high = np.minimum(low, fields.min(axis=0)), np.maximum(high, fields.max(axis=0))
            for row, vector in enumerate(widen(stored, self.form, dims), at):
                population = int(populations[row])
                counts += population * np.bincount(fields[row - at], minlength=len(counts))
                if finite[row]:
                    dead_total += population * vector
                    vector_total += vector
            at += len(fields)
        return Holes(dead_total, vector_total, finite, counts, int((low == high).sum()))

    def angles_to(self, direction: NDArray[np.float64] | None) -> list[float | None]:
        """Angle of each black hole's vector to a direction, degrees, in the order of `members`."""
        target = unit(direction)
        if target is None:
            return [None] * len(self.members)
        angles: list[float | None] = []
        for stored in self.identity.vectors(self._rows_at_once):
            vectors = widen(stored, self.form, self.hidden_dim)
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                units = vectors / row_lengths(vectors)[:, None]
                apart, along = row_lengths(units - target), row_lengths(units + target)
            angles += [number(angle) for angle in np.degrees(2.0 * np.arctan2(apart, along))]
        return angles

    @property
    def _rows_at_once(self) -> int:
        return max(1, SWEEP_BYTES // (8 * self.hidden_dim))


# ---------------------------------------------------------------- exact sums over a few numbers
# math.fsum rounds once, so neither the order nor the processor's vector width shows in a result.


def length(vector: NDArray[np.float64]) -> float:
    """‖v‖₂; scaled by a power of two where squares would leave the range of float64."""
    largest = float(np.abs(vector).max(initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    _, exponent = math.frexp(largest)
    scaled = np.ldexp(vector, -exponent)
    return math.ldexp(math.sqrt(math.fsum(scaled * scaled)), exponent)


def row_lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """‖w_i‖ of each row, [R, D] -> [R]; numpy's pairwise sum has one order on every processor."""
    lengths: NDArray[np.float64] = np.sqrt(np.add.reduce(rows * rows, axis=1))
    return lengths


def unit(vector: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """v / ‖v‖, or None where it has no direction."""
    norm = 0.0 if vector is None else length(vector)
    if vector is None or norm == 0.0 or not math.isfinite(norm):
        return None
    return vector / norm


def cosine(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float | None:
    """Cosine of the angle between two vectors, in [-1, 1]; None where one has no direction."""
    u, v = unit(a), unit(b)
    if u is None or v is None:
        return None
    return max(-1.0, min(1.0, math.fsum(u * v)))


def angle_deg(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float | None:
    """Angle between two vectors in degrees: 2·atan2(‖û−v̂‖, ‖û+v̂‖), exact near 0° and 180°.

    W. Kahan, "How Futile are Mindless Assessments of Roundoff" (2006), section 12. None where a
    vector has no direction.
    """
    u, v = unit(a), unit(b)
    if u is None or v is None:
        return None
    return math.degrees(2.0 * math.atan2(length(u - v), length(u + v)))


def mean_and_std(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Mean, and standard deviation with ddof 1; None where too few values are given."""
    if len(values) == 0:
        return None, None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((values - mean) ** 2) / (len(values) - 1))


def number(value: float) -> float | None:
    """The value, or None where it is NaN or infinite: undefined is NULL."""
    return float(value) if math.isfinite(value) else None
