"""What one pass over a matrix leaves behind; every measure is computed from this."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from survey.columns import Vector
from survey.dtypes import FloatFormat
from survey.floats import biased_exponents, widen
from survey.row_identity import RowIdentity
from survey.scale import Scale
from survey.sketch import Sketches, scaled_rows
from survey.sums import ZERO, magnitude

NEAR_ZERO = 1e-6  # of the median norm
SWEEP_BYTES = 4 << 20  # of float64, at a time, while the black holes' vectors are read back


@dataclass(frozen=True, slots=True)
class Holes:
    """Sums over the black holes' vectors; those that are not finite are left out of the sums.

    dead_totals: Σ population × vector of each magnitude, [D]. vector_total: Σ vector, [D].
    exponents_dead: counts by biased exponent, weighted by population.
    """

    dead_totals: Mapping[int, NDArray[np.float64]]
    vector_total: NDArray[np.float64]
    exponents_dead: NDArray[np.int64]
    shared_exponent_dims: int


@dataclass(frozen=True)
class Folded:
    """[V, D] folded: column sums [D] by magnitude, row norms [V], exponent counts, identical rows.

    finite: which rows hold neither NaN nor infinity, [V]. scale: what stored values are multiplied
    by. Where it makes identical rows differ, a black hole's vector is that of its first row.
    """

    form: FloatFormat
    vocab_rows: int
    hidden_dim: int
    totals: Mapping[int, NDArray[np.float64]]
    norms: NDArray[np.float64]
    finite: NDArray[np.bool_]
    exponents: NDArray[np.int64]
    directions: NDArray[np.float32]
    identity: RowIdentity
    scale: Scale | None = None

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum of the finite rows, [D]."""
        return sum(self.totals.values(), np.zeros(self.hidden_dim))

    @cached_property
    def dead_total(self) -> NDArray[np.float64]:
        """Sum of the finite dead rows, [D]."""
        return sum(self.holes.dead_totals.values(), np.zeros(self.hidden_dim))

    @cached_property
    def live_total(self) -> NDArray[np.float64]:
        """Sum of the finite live rows, [D]: all minus dead, magnitude by magnitude.

        Where a magnitude has no live row its difference is rounding and nothing else, and would
        drown the shorter live rows: it is left out.
        """
        live = np.zeros(self.hidden_dim)
        bands = np.unique(magnitude(self.norms[~self.dead & self.finite]))
        for band in bands[bands != ZERO].tolist():
            live += self.totals[band] - self.holes.dead_totals.get(band, 0.0)
        return live

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
    def sorted_norms(self) -> NDArray[np.float64]:
        """Norms of the finite rows, ascending."""
        norms: NDArray[np.float64] = np.sort(self.norms[self.finite])
        return norms

    @cached_property
    def sketches(self) -> Sketches:
        """Every row in 32 dimensions."""
        least = near_zero_below(self.sorted_norms)
        usable = self.finite & (self.norms > 0) & (self.norms >= least)
        known = self.sorted_norms[(self.sorted_norms > 0) & (self.sorted_norms >= least)]
        median = float(known[(len(known) - 1) // 2]) if len(known) else 1.0
        ranked = sorted(self.members, key=lambda rows: (-len(rows), rows[0]))
        return Sketches(
            rows=scaled_rows(self.directions, self.norms, usable, median),
            usable=usable,
            dead=self.dead,
            firsts=np.array([rows[0] for rows in ranked], dtype=np.int64),
            half_ulp=2.0 ** (self.form.exponent_bits - self.form.bits),  # 1 sign bit, so 1 + mantissa
        )

    @cached_property
    def holes(self) -> Holes:
        """One sweep over the kept vectors."""
        dims = self.hidden_dim
        dead_totals: dict[int, NDArray[np.float64]] = {}
        vector_total = np.zeros(dims)
        counts = np.zeros(self.form.exponent_values, dtype=np.int64)
        low, high = np.full(dims, self.form.exponent_values), np.full(dims, -1)
        firsts = np.array([rows[0] for rows in self.members], dtype=np.int64)
        finite, bands = self.finite[firsts], magnitude(self.norms[firsts]).tolist()
        at = 0
        for stored in self.identity.vectors(self._rows_at_once):
            fields = biased_exponents(stored, self.form, dims)
            low, high = np.minimum(low, fields.min(axis=0)), np.maximum(high, fields.max(axis=0))
            values = widen(stored, self.form, dims)
            for hole, vector in enumerate(self._scaled(values, at), at):
                population = len(self.members[hole])
                counts += population * np.bincount(fields[hole - at], minlength=len(counts))
                if finite[hole]:
                    vector_total += vector
                if self.scale is not None:
                    for band, total in self._scaled_totals(hole, values[hole - at]):
                        dead_totals.setdefault(band, np.zeros(dims))[:] += total
                elif finite[hole]:
                    total = dead_totals.setdefault(bands[hole], np.zeros(dims))
                    total += population * vector
            at += len(fields)
        return Holes(dead_totals, vector_total, counts, int((low == high).sum()))

    def angles_to(self, direction: NDArray[np.float64] | None) -> list[float | None]:
        """Angle of each black hole's vector to a direction, degrees, in the order of `members`."""
        target = unit(direction)
        if target is None:
            return [None] * len(self.members)
        angles: list[float | None] = []
        for stored in self.identity.vectors(self._rows_at_once):
            units = row_units(self._scaled(widen(stored, self.form, self.hidden_dim), len(angles)))
            apart, along = row_lengths(units - target), row_lengths(units + target)
            # math's atan2, not numpy's: its vector version has other last bits on other processors.
            angles += [
                number(math.degrees(2.0 * math.atan2(*pair)))
                for pair in zip(apart.tolist(), along.tolist(), strict=True)
            ]
        return angles

    def _scaled(self, values: NDArray[np.float64], hole: int) -> NDArray[np.float64]:
        """The vectors of consecutive black holes from `hole` on, [K, D], as the model has them."""
        if self.scale is None:
            return values
        firsts = [rows[0] for rows in self.members[hole : hole + len(values)]]
        return self.scale.times(values, np.array(firsts, dtype=np.int64))

    def _scaled_totals(
        self, hole: int, vector: NDArray[np.float64]
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Σ of a black hole's finite rows by their magnitude, where a scale makes them differ."""
        assert self.scale is not None
        rows = np.array(self.members[hole], dtype=np.int64)
        rows = rows[self.finite[rows]]
        bands = magnitude(self.norms[rows])
        for band in np.unique(bands[bands != ZERO]).tolist():
            yield band, vector * self.scale.summed(rows[bands == band], self.hidden_dim)

    @property
    def _rows_at_once(self) -> int:
        return max(1, SWEEP_BYTES // (8 * self.hidden_dim))


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


def unit(vector: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """v / ‖v‖, or None where it has no direction."""
    if vector is None or not np.isfinite(vector).all() or not vector.any():
        return None
    scaled, _ = _scaled(vector)
    return scaled / length(scaled)


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
    from survey.kernels.exact_sum import add_up  # here, so that planning never loads a compiler

    found = np.empty(3)
    add_up(values, found)
    total, least, most = found.tolist()
    return total if least == most and math.isfinite(total) else math.fsum(values.tolist())


def _scaled(vector: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The vector divided by a power of two, so that its largest element is in [0.5, 1)."""
    _, exponent = math.frexp(float(np.abs(vector).max(initial=0.0)))
    return np.ldexp(vector, -exponent), exponent
