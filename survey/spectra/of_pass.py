"""The spectrum of a matrix whose blocks a pass reads anyway: their products are added up on the way.

It stands beside the row of its matrix, and never in its way: what goes wrong here ends the spectrum alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from survey.errors import SurveyError
from survey.numerics.row_decoder import DecodedRows, RowDecoder
from survey.onepass.geometry import PRODUCT_ROWS
from survey.onepass.row_identity import RowIdentity, row_digests, rows_of_slab
from survey.onepass.slabs import slabs
from survey.process.redaction import redacted
from survey.process.ulimits import shortage
from survey.records.blocks import Block
from survey.records.results import Spectrum
from survey.spectra.covariance import CovarianceSum
from survey.spectra.figures import Removal, RowMoments, figures, principal_axes
from survey.spectra.memory import SPECTRUM_SQUARES, refuse_too_wide
from survey.spectra.study import CloudFigures, spectrum_of

# Both clouds' eigenvalues and first two axes take as long as the products of so many rows for each
# dimension: measured 4 to 30, the fewest in one thread.
EIGEN_ROWS = 20

_Result = TypeVar("_Result")


class TooSlow(Exception):
    """A spectrum that would not be there in time."""


class PassSpectrum:
    """Adds up the products of a matrix's rows while a pass reads them, and then computes the spectrum.

    problem: why there is none, once that is known. elapsed_s: what it has taken so far.
    """

    def __init__(self, decoder: RowDecoder, vocab_rows: int, device: str, until: float) -> None:
        """device: of the products and the eigenvalues. until: by when it must be done (time.monotonic)."""
        self.decoder, self._vocab_rows, self._device, self._until = decoder, vocab_rows, device, until
        self._sum: CovarianceSum | None = None
        self._waiting = bytearray()  # fewer than PRODUCT_ROWS rows
        self._added = 0  # rows
        self.problem: str | None = None
        self.elapsed_s = 0.0

    def beside(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks, of whole rows; each is added first."""
        slab_bytes = PRODUCT_ROWS * self.decoder.row_bytes
        for block in blocks:
            self._attempt(self._take, block, slab_bytes)
            yield block

    def finished(self, identity: RowIdentity) -> Spectrum | None:
        """The spectrum, after the pass; None if there is a problem. identity: of all rows."""
        return self._attempt(self._spectrum, identity)

    def _attempt(self, step: Callable[..., _Result], *arguments: object) -> _Result | None:
        """The result of a step; None if it fails, or an earlier one has failed."""
        if self.problem is not None:
            return None
        started = time.monotonic()
        try:
            return step(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is: the row of the matrix is worth more
            self.problem = _problem(error)
            self._sum, self._waiting = None, bytearray()
            return None
        finally:
            self.elapsed_s += time.monotonic() - started

    def _take(self, block: Block, slab_bytes: int) -> None:
        """Add the rows of a block, PRODUCT_ROWS at a time: a product of fewer takes longer."""
        self._check_time(time.monotonic())
        rest = memoryview(block)
        while len(self._waiting) + len(rest) >= slab_bytes:
            part = slab_bytes - len(self._waiting)
            self._add(self._waiting + rest[:part] if self._waiting else rest[:part])
            self._waiting, rest = bytearray(), rest[part:]
        self._waiting += rest

    def _add(self, slab: Block) -> None:
        if self._sum is None:
            refuse_too_wide(self.decoder.dims, self._device, SPECTRUM_SQUARES)
            self._sum = CovarianceSum(self.decoder.dims, self._device)
        self._sum.add(self.decoder.values(slab, self._added))
        self._added += len(slab) // self.decoder.row_bytes

    def _spectrum(self, identity: RowIdentity) -> Spectrum:
        if self._waiting:
            self._add(self._waiting)
            self._waiting = bytearray()
        assert self._sum is not None, "a matrix has a row"
        rows_s = self.elapsed_s / self._added
        self._check_time(time.monotonic() + rows_s * EIGEN_ROWS * self.decoder.dims)
        summed = self._sum.covariance()
        self._sum = None  # its D × D products
        cloud = RowMoments(summed.matrix, summed.mean, summed.count, summed.is_within)
        live = self._live(cloud, identity)
        of_all = self._figures(cloud)
        of_live = of_all if live is cloud else self._figures(live)
        return spectrum_of(self.decoder, self._vocab_rows, of_all, of_live, None)

    def _figures(self, cloud: RowMoments) -> CloudFigures:
        axes, variances = principal_axes(cloud, self._device, 2)
        return CloudFigures(cloud.count, figures(cloud, axes, variances, self._device))

    def _live(self, cloud: RowMoments, identity: RowIdentity) -> RowMoments:
        """The cloud of the rows that are in no black hole; the same one if none is."""
        if not identity.black_hole_rows:
            return cloud
        removal = Removal(cloud)
        with np.errstate(invalid="ignore", over="ignore"):
            for rows, populations in dead_rows(identity, self.decoder):
                removal.add(rows, populations)
        return removal.rest()

    def _check_time(self, at: float) -> None:
        if at > self._until:
            raise TooSlow("it would take more than its part of the time limit: raise --timeout")


def spectrum_alone(blocks: Iterable[Block], vocab_rows: int, summed: PassSpectrum) -> Spectrum | None:
    """The spectrum of a matrix that no pass reads; None if there is a problem. Raises SurveyError."""
    decoder = summed.decoder
    identity = RowIdentity(vocab_rows, decoder.row_bytes)
    try:
        for slab in slabs(summed.beside(blocks), PRODUCT_ROWS * decoder.row_bytes):
            identity.add(row_digests(slab, decoder.row_bytes), rows_of_slab(slab, decoder.row_bytes))
        return summed.finished(identity)
    finally:
        identity.close()


def dead_rows(identity: RowIdentity, decoder: RowDecoder) -> Iterator[tuple[DecodedRows, DecodedRows]]:
    """The vectors of black holes, [K, D], and how many rows have each, [K]; some thousand at a time."""
    black_holes = iter(identity.black_hole_rows)
    for stored in identity.vectors(PRODUCT_ROWS):
        values = decoder.stored_values(stored)
        members = [next(black_holes) for _ in values]
        if decoder.scale is None:
            yield values, np.array([len(rows) for rows in members], dtype=np.float64)
            continue
        for vector, rows in zip(values, members, strict=True):  # a scale may make its rows differ
            for start in range(0, len(rows), PRODUCT_ROWS):
                ids = np.array(rows[start : start + PRODUCT_ROWS], dtype=np.int64)
                yield (
                    decoder.scaled(np.broadcast_to(vector, (len(ids), len(vector))), ids),
                    np.ones(len(ids)),
                )


def _problem(error: Exception) -> str:
    """What went wrong, in a line."""
    if isinstance(error, (SurveyError, TooSlow)):
        return str(error)
    return shortage(error) or redacted(f"{type(error).__name__}: {error}").partition("\n")[0]
