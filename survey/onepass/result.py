"""The result of one pass over a matrix; every measure is computed from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from survey.numerics.row_decoder import RowDecoder
from survey.numerics.vectors import Float64s, near_zero_below, row_angles_deg
from survey.onepass.projection import Projections, relative_lengths
from survey.onepass.row_identity import RowIdentity, by_population, rows_in
from survey.onepass.row_values import FORM_BITS, RowValues
from survey.onepass.sums import ZERO_BAND, norm_bands, weights
from survey.records.value_dtypes import value_mark

SWEEP_BYTES = 4 << 20  # of float64, at a time, while the black holes' vectors are read back


@dataclass(frozen=True, slots=True)
class DeadSums:
    """Sums over the black holes' vectors; vectors that are not finite are left out of the sums.

    totals: Σ of the dead rows of each band of norms, [D]. units: Σ of the dead rows that have a direction,
    each at length 1, [D]. vector_total: Σ of the vectors, each once, [D]. exponents: elements of dead rows by
    biased exponent; nonzero_exponents: of those that are finite and not zero. shared_exponent_dims:
    dimensions in which all such vectors have the same exponent; None without one. Codes have no exponents:
    then there are none.
    """

    totals: Mapping[int, Float64s]
    units: Float64s
    vector_total: Float64s
    exponents: NDArray[np.int64]
    nonzero_exponents: NDArray[np.int64]
    shared_exponent_dims: int | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Consecutive black holes: the rows of each, the bands of their vectors' norms, and the vectors [K, D].

    stored: bytes. stored_values: without the scale. values: with it.
    """

    black_hole_rows: list[list[int]]
    bands: list[int]
    stored: bytes
    stored_values: Float64s
    values: Float64s


@dataclass(frozen=True)
class PassResult:
    """What one pass over a [V, D] matrix leaves behind.

    totals: column sums [D] of the finite rows of each band of norms. squares: column sums of their squares,
    [D]. units: column sums of the rows that have a direction, each at length 1, [D]. norms: [V].
    finite: rows without NaN and infinity, [V]. mantissas: of some rows, as in `mantissas.py`; None of codes.
    exponents: elements by biased exponent. directions: projections of w_i / ‖w_i‖, [V, 32]. fine_directions:
    the same in 128 dimensions, in bfloat16, [V, 128]. identity: which rows have equal bytes. values: what
    their values are, not set of bfloat16. held_by: bits of HOLDS that are true of all.
    If a scale makes such rows differ, a black hole's vector is that of its first row. What is derived from
    these fields is computed once, when it is first used.
    """

    decoder: RowDecoder
    vocab_rows: int
    totals: Mapping[int, Float64s]
    squares: Float64s
    units: Float64s
    norms: Float64s
    finite: NDArray[np.bool_]
    mantissas: NDArray[np.int64] | None
    exponents: NDArray[np.int64]
    directions: NDArray[np.float32]
    fine_directions: NDArray[np.uint16]
    identity: RowIdentity
    values: RowValues
    held_by: int

    @property
    def hidden_dim(self) -> int:
        return self.decoder.dims

    @property
    def total(self) -> Float64s:
        """Sum of the finite rows, [D]."""
        return sum(self.totals.values(), np.zeros(self.hidden_dim))

    @cached_property
    def dead_total(self) -> Float64s:
        """Sum of the finite dead rows, [D]."""
        return sum(self.dead_sums.totals.values(), np.zeros(self.hidden_dim))

    @cached_property
    def live_total(self) -> Float64s:
        """Sum of the finite live rows, [D]: all minus dead, band by band.

        In a band without a live row the difference is rounding and nothing else, and would drown shorter
        live rows: it is left out.
        """
        live = np.zeros(self.hidden_dim)
        bands = np.unique(norm_bands(self.norms[~self.dead & self.finite]))
        for band in bands[bands != ZERO_BAND].tolist():
            live += self.totals[band] - self.dead_sums.totals.get(band, 0.0)
        return live

    @cached_property
    def black_hole_rows(self) -> list[list[int]]:
        """The rows of each black hole, ascending; the black holes in order of first repetition."""
        return self.identity.black_hole_rows

    @cached_property
    def dead(self) -> NDArray[np.bool_]:
        """Which rows are in a black hole, [V]."""
        return rows_in(self.black_hole_rows, self.vocab_rows)

    @cached_property
    def sorted_norms(self) -> Float64s:
        """Norms of the finite rows, ascending."""
        norms: Float64s = np.sort(self.norms[self.finite])
        return norms

    @cached_property
    def value_hashes(self) -> NDArray[np.uint64]:
        """Of each row's values, equal whatever dtype stores them, [V]."""
        own, other = self._own_value_hashes, self.other_value_hashes
        return own if other is None else np.where(other == 0, own, other)

    @cached_property
    def _own_value_hashes(self) -> NDArray[np.uint64]:
        """Those of rows by their stored bytes, [V]."""
        own = self.identity.row_hashes() ^ np.uint64(value_mark(self.decoder.stored_code))
        scale = self.decoder.scale
        return own if scale is None else own ^ scale.marks(self.vocab_rows, self.hidden_dim)

    @cached_property
    def other_value_hashes(self) -> NDArray[np.uint64] | None:
        """The value hashes of rows that are not stored in their form, and 0, [V]; None of bfloat16.

        With a scale, those of all rows: their bytes alone do not decide their values.
        """
        code = self.decoder.stored_code
        if code == "BF16":
            return None
        hashes = np.zeros(self.vocab_rows, np.uint64)
        if self.decoder.scale is not None:
            hashes[:] = self._own_value_hashes
        for number, form in FORM_BITS.items():
            if form != code:
                rows = self.values.forms == number
                hashes[rows] = self.values.hashes[rows] ^ np.uint64(value_mark(form))
        return hashes

    @cached_property
    def projections(self) -> Projections:
        """Every row in 32 dimensions."""
        least = near_zero_below(self.sorted_norms)
        usable = self.finite & (self.norms > 0) & (self.norms >= least)
        usable_norms = self.sorted_norms[(self.sorted_norms > 0) & (self.sorted_norms >= least)]
        median = float(usable_norms[(len(usable_norms) - 1) // 2]) if len(usable_norms) else 1.0
        lengths = relative_lengths(self.norms, usable, median)
        return Projections(
            rows=self.directions * lengths.astype(np.float32)[:, None],
            lengths=lengths,
            fine=self.fine_directions,
            usable=usable,
            dead=self.dead,
            firsts=_firsts(sorted(self.black_hole_rows, key=by_population)),
            dims=self.hidden_dim,
            half_step=self.decoder.row_format.half_step,
        )

    @cached_property
    def dead_sums(self) -> DeadSums:
        """Sums over the black holes' vectors, which are read back in one sweep."""
        dims, exponent_values = self.hidden_dim, self.decoder.row_format.exponent_values
        totals: dict[int, Float64s] = {}
        vector_total, units = np.zeros(dims), np.zeros(dims)
        exponents, nonzero = (np.zeros(exponent_values, dtype=np.int64) for _ in range(2))
        low, high = np.full(dims, exponent_values), np.full(dims, -1)
        for batch in self._batches():
            fields = self.decoder.exponents(batch.stored) if exponent_values else None
            for index, rows in enumerate(batch.black_hole_rows):
                if fields is not None:
                    counts = len(rows) * np.bincount(fields[index], minlength=exponent_values)
                    exponents += counts
                    if self.finite[rows[0]] and self.norms[rows[0]] > 0.0:
                        nonzero += counts
                        low, high = np.minimum(low, fields[index]), np.maximum(high, fields[index])
                with np.errstate(over="ignore", invalid="ignore"):  # beyond float64 no number, then NULL
                    if self.finite[rows[0]]:
                        vector_total += batch.values[index]
                    units += self._units_of(batch, index)
                    for band, total in self._totals_of(batch, index):
                        totals.setdefault(band, np.zeros(dims))[:] += total
        shared = int((low == high).sum()) if nonzero.any() else None
        return DeadSums(totals, units, vector_total, exponents, nonzero, shared)

    def angles_to(self, direction: Float64s | None) -> list[float | None]:
        """Angle of each black hole's vector to a direction [D], degrees, in order of `black_hole_rows`."""
        return [angle for batch in self._batches() for angle in row_angles_deg(batch.values, direction)]

    def _batches(self) -> Iterator[_Batch]:
        """The black holes' vectors, some MB at a time, in the order of `black_hole_rows`."""
        start = 0
        for stored in self.identity.vectors(max(1, SWEEP_BYTES // (8 * self.hidden_dim))):
            stop = start + len(stored) // self.decoder.row_bytes
            black_hole_rows = self.black_hole_rows[start:stop]
            firsts, stored_values = _firsts(black_hole_rows), self.decoder.stored_values(stored)
            bands = norm_bands(self.norms[firsts]).tolist()
            values = self.decoder.scaled(stored_values, firsts)
            yield _Batch(black_hole_rows, bands, stored, stored_values, values)
            start = stop

    def _units_of(self, batch: _Batch, index: int) -> Float64s:
        """Σ of the rows of one black hole at length 1, [D]; a scale may turn them in several directions."""
        rows = np.array(batch.black_hole_rows[index])
        rows = rows[self.finite[rows]]
        factors, unit_total = weights(self.norms[rows]), np.zeros(self.hidden_dim)
        if not len(rows):
            return unit_total
        if self.decoder.scale is None:
            unit_total += factors.sum() * batch.values[index]
            return unit_total
        step = max(1, SWEEP_BYTES // (8 * self.hidden_dim))
        for start in range(0, len(rows), step):
            here = rows[start : start + step]
            stored_values = np.broadcast_to(batch.stored_values[index], (len(here), self.hidden_dim))
            unit_total += factors[start : start + step] @ self.decoder.scaled(stored_values, here)
        return unit_total

    def _totals_of(self, batch: _Batch, index: int) -> Iterator[tuple[int, Float64s]]:
        """Σ of the finite rows of one black hole by band of norms, [D].

        Without a scale all its rows have one norm; a scale may make them differ.
        """
        rows, scale = batch.black_hole_rows[index], self.decoder.scale
        if scale is None:
            if self.finite[rows[0]]:
                yield batch.bands[index], len(rows) * batch.values[index]
            return
        row_ids = np.array(rows, dtype=np.int64)
        row_ids = row_ids[self.finite[row_ids]]
        bands = norm_bands(self.norms[row_ids])
        for band in np.unique(bands[bands != ZERO_BAND]).tolist():
            factors = scale.summed(row_ids[bands == band], self.hidden_dim)
            yield band, batch.stored_values[index] * factors


def _firsts(black_hole_rows: list[list[int]]) -> NDArray[np.int64]:
    """The first row of each black hole, [K]."""
    return np.array([rows[0] for rows in black_hole_rows], dtype=np.int64)
