"""Spectra of rows that a run does not measure: copied from rows of the same bytes, or read for alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from catalog.read.measured import MeasuredRows, RowKey
from catalog.store.open import CatalogStore
from jobs.backfill.spectra import copy_spectra
from jobs.executors.progress import Progress
from jobs.planning.plan import Unchanged
from jobs.run.ledger import RunLedger
from jobs.tasks.delivery import committed
from jobs.tasks.outcome import Failed, Outcome
from survey.errors import SurveyError, UsageError
from survey.records.settings import SpectrumChoice
from survey.records.target import Target

OutcomesOf = Callable[[Sequence[Target]], Generator[tuple[Outcome, int], None, None]]


@dataclass(frozen=True, slots=True)
class SpectrumAdder:
    """Adds spectra to the rows of a run, whose outcomes are in the ledger.

    measured: the catalog's rows when the run began. outcomes: of targets, by the run's executor.
    """

    choice: SpectrumChoice
    measured: MeasuredRows
    store: CatalogStore
    ledger: RunLedger
    progress: Progress
    outcomes: OutcomesOf

    def add(self, unchanged: Sequence[Unchanged]) -> None:
        """Copy what is there under another key, read what is not, and copy that to rows of the same bytes."""
        if self.choice == "off":
            return
        self.ledger.no_spectra += [
            f"{item.model}: {item.spectrum_problem}" for item in unchanged if item.spectrum_problem
        ]
        copies = [outcome.target for outcome in self.ledger.copied if outcome.target.spectrum_bytes]
        known = [item.key for item in unchanged if self._is_under_another_key(item.key)]
        done = self._copy([*known, *(target.key for target in copies)])
        if self.choice != "on":
            return
        lacking = [item.for_spectrum for item in unchanged if item.for_spectrum is not None]
        lacking += [replace(target, only_spectrum=True) for target in copies if target.key not in done]
        firsts = {target.content_key or target.key: target for target in reversed(lacking)}
        self._read(list(firsts.values()))
        self._copy([target.key for target in lacking if target not in firsts.values()])

    def _is_under_another_key(self, key: RowKey) -> bool:
        return key not in self.measured.spectra and self.measured.has_spectrum(key)

    def _copy(self, keys: Sequence[RowKey]) -> Iterable[RowKey]:
        """Copy spectra to rows of these keys; returns the keys that have one now."""
        if not keys:  # to open the catalog takes a while
            return ()
        try:
            copied = copy_spectra(self.store, keys)
        except (SurveyError, UsageError) as error:
            self.ledger.no_spectra.append(f"spectra of rows of the same bytes were not copied: {error}")
            return ()
        self.ledger.spectra_copied += len(copied.keys)
        self.ledger.no_spectra += copied.problems
        return copied.keys

    def _read(self, targets: Sequence[Target]) -> None:
        """Read matrices for their spectra alone; their rows stay as they are."""
        if targets:
            self.progress.adding_spectra(len(targets))
        with closing(self.outcomes(targets)) as outcomes:
            for outcome, _ in outcomes:
                problem = self._problem_of(outcome)
                if problem is None:
                    self.ledger.spectra_added += 1
                else:
                    self.ledger.no_spectra.append(problem)

    def _problem_of(self, outcome: Outcome) -> str | None:
        """Why a matrix that was read has no spectrum; None if that is committed."""
        if isinstance(outcome, Failed):
            return outcome.message.splitlines()[-1]  # of a traceback, what was raised
        repo, spectrum = outcome.target.identity.repo, committed(outcome, self.store).spectrum
        problem = "none was computed" if spectrum is None else spectrum.problem
        return problem and f"{repo}: {problem}"
