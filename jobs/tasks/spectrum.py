"""The spectrum of a task's matrix: from the blocks of its pass, or of a matrix that is read for it alone."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from catalog.store.open import CatalogStore
from catalog.write.commit import commit_result
from jobs.tasks.outcome import SpectrumOutcome
from survey import version
from survey.api import measure
from survey.errors import SurveyError
from survey.measures import measure_result
from survey.numerics.row_decoder import RowDecoder
from survey.onepass.fold import fold
from survey.opening import Matrix, OnProgress
from survey.process.clock import utc_now
from survey.process.machine import cpus
from survey.records.column_field import values_of
from survey.records.measured_columns import Measurement
from survey.records.results import Made, Spectrum, SpectrumRow, WhichMatrix
from survey.records.settings import Settings, SpectraDevice
from survey.records.target import Identity, Target

if TYPE_CHECKING:
    from survey.spectra.of_pass import PassSpectrum


def without_spectrum(needed_bytes: int, memory_bytes: float, owner: str) -> SpectraDevice:
    """Why a matrix does without: a spectrum needs more memory than its owner has, such as `this process`."""
    needed = f"needs {needed_bytes / 1e9:.1f} GB of memory, {owner} has {memory_bytes / 1e9:.1f} GB"
    return SpectraDevice(None, needed)


@dataclass(frozen=True, slots=True)
class TaskSpectrum:
    """The spectrum of a task's matrix: computed on a device from the blocks that the task reads, or not.

    outcome: why it is not computed; None if none was requested.
    """

    device: str = ""
    summed: PassSpectrum | None = None
    outcome: SpectrumOutcome | None = None

    @classmethod
    def of(cls, matrix: Matrix, spectra: SpectraDevice | None, until: float) -> TaskSpectrum:
        """Begin it. spectra: of the task's settings. until: by when it must be done (time.monotonic)."""
        if not matrix.target.spectrum_bytes or spectra is None:
            return cls()
        if spectra.name is None:
            return cls(outcome=SpectrumOutcome(problem=spectra.reason))
        from survey.spectra.of_pass import PassSpectrum  # here: it loads torch

        vocab_rows, dims = matrix.shape
        decoder = RowDecoder(matrix.row_format, dims, matrix.scale())
        return cls(spectra.name, PassSpectrum(decoder, vocab_rows, spectra.name, until))

    @property
    def elapsed_s(self) -> float:
        """What it has taken of the task so far."""
        return self.summed.elapsed_s if self.summed else 0.0

    def beside(
        self, matrix: Matrix, device: str, settings: Settings, on_progress: OnProgress
    ) -> tuple[Measurement, SpectrumOutcome | None]:
        """Measure a matrix on a device, and its spectrum from the same blocks. Raises as `survey.measure`."""
        if self.summed is None:
            return measure(
                matrix,
                device=device,
                threads=settings.threads,
                tokens=settings.tokens,
                on_progress=on_progress,
            ), self.outcome
        blocks = self.summed.beside(matrix.blocks(on_progress))
        threads, scale = settings.threads, self.summed.decoder.scale
        with fold(blocks, matrix.row_format, matrix.shape, device, scale, threads) as result:
            measurement = measure_result(result, tokens=settings.tokens, threads=threads or cpus())
            return measurement, self._outcome(matrix, self.summed.finished(result.identity))

    def alone(self, matrix: Matrix, on_progress: OnProgress) -> SpectrumOutcome:
        """The spectrum of a matrix that is not measured. Raises SurveyError."""
        if self.summed is None:
            return self.outcome or SpectrumOutcome(problem="none was requested")
        from survey.spectra.of_pass import spectrum_alone

        spectrum = spectrum_alone(matrix.blocks(on_progress), matrix.shape[0], self.summed)
        return self._outcome(matrix, spectrum)

    def _outcome(self, matrix: Matrix, spectrum: Spectrum | None) -> SpectrumOutcome:
        if spectrum is None:
            return SpectrumOutcome(problem=self.summed.problem if self.summed else None)
        return SpectrumOutcome(spectrum_row(matrix.target.identity, spectrum, self.device, self.elapsed_s))


def spectrum_row(identity: Identity, spectrum: Spectrum, device: str, elapsed_s: float) -> SpectrumRow:
    """The row of a spectrum that was computed here and now."""
    which = WhichMatrix(
        repo=identity.repo, revision=identity.revision, sha=identity.sha, matrix=identity.matrix
    )
    made = Made(survey_version=version(), made_at=utc_now(), host=socket.gethostname())
    return SpectrumRow(**values_of(which, spectrum, made), device=device, elapsed_s=elapsed_s)


def commit_spectrum_of(store: CatalogStore, target: Target, outcome: SpectrumOutcome) -> SpectrumOutcome:
    """Commit the row of a spectrum, if there is one; a failure is its problem, and not that of its matrix."""
    if outcome.row is None:
        return outcome
    try:
        commit_result(store, "spectra", target.key, outcome.row)
    except SurveyError as error:
        return SpectrumOutcome(problem=str(error))
    return replace(outcome, row=None)
