"""The result of one pass over a matrix; every measure is computed from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from survey.numerics.decoding import biased_exponents, widen
from survey.numerics.dtypes import FloatFormat
from survey.numerics.scale import Scale
from survey.numerics.vectors import near_zero_below, number, row_lengths, row_units, unit_vector
from survey.onepass.projection import Projections, projected_rows
from survey.onepass.row_identity import RowIdentity
from survey.onepass.sums import ZERO, magnitude

SWEEP_BYTES = 4 << 20  # of float64, at a time, while the black holes' vectors are read back


@dataclass(frozen=True, slots=True)
class DeadSums:
    """Sums over the black holes' vectors; those that are not finite are left out of the sums.

    dead_totals: Σ population × vector of each magnitude, [D]. vector_total: Σ vector, [D].
    exponents_dead: counts by biased exponent, weighted by population.
    """

    dead_totals: Mapping[int, NDArray[np.float64]]
    vector_total: NDArray[np.float64]
    exponents_dead: NDArray[np.int64]
    shared_exponent_dims: int


@dataclass(frozen=True)
class PassResult:
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
    def sketches(self) -> Projections:
        """Every row in 32 dimensions."""
        least = near_zero_below(self.sorted_norms)
        usable = self.finite & (self.norms > 0) & (self.norms >= least)
        known = self.sorted_norms[(self.sorted_norms > 0) & (self.sorted_norms >= least)]
        median = float(known[(len(known) - 1) // 2]) if len(known) else 1.0
        ranked = sorted(self.members, key=lambda rows: (-len(rows), rows[0]))
        return Projections(
            rows=projected_rows(self.directions, self.norms, usable, median),
            usable=usable,
            dead=self.dead,
            firsts=np.array([rows[0] for rows in ranked], dtype=np.int64),
            half_ulp=2.0 ** (self.form.exponent_bits - self.form.bits),  # 1 sign bit, so 1 + mantissa
        )

    @cached_property
    def holes(self) -> DeadSums:
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
        return DeadSums(dead_totals, vector_total, counts, int((low == high).sum()))

    def angles_to(self, direction: NDArray[np.float64] | None) -> list[float | None]:
        """Angle of each black hole's vector to a direction, degrees, in the order of `members`."""
        target = unit_vector(direction)
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
