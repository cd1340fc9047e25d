"""`survey run`: plan, measure, commit, and record the outcome of every model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Sequence
from dataclasses import replace

from catalog.read.measured import NOTHING_MEASURED, MeasuredRows
from catalog.store.lock import Lock, catalog_lock
from catalog.store.open import CatalogStore
from catalog.write.arrow_tables import attempts_table
from catalog.write.commit import commit_attempts
from catalog.write.compact import compact, is_due
from catalog.write.retire import retire
from jobs.backfill.copies import copy_rows
from jobs.backfill.from_tokenizer import name_stored
from jobs.backfill.from_tokens import fill_from_tokens
from jobs.executors.progress import Progress
from jobs.executors.ray_settings import refuse_settings
from jobs.executors.ray_start import HeadProcess
from jobs.executors.serial import run_serially
from jobs.planning.plan import Plan, PlanCriteria
from jobs.planning.planner import make_plan
from jobs.run.catalog_state import read_catalog
from jobs.run.committed_rows import read_committed
from jobs.run.committing import Committer
from jobs.run.ledger import RunLedger
from jobs.run.request import RunRequest, criteria_of
from jobs.run.spectra import SpectrumAdder
from jobs.tasks.delivery import committed
from jobs.tasks.outcome import Failed, Outcome
from survey.errors import CommitError, SurveyError
from survey.hub.throttle import LocalThrottle
from survey.process.owned_folders import temporary_folder
from survey.records.settings import Settings, TokenizerTablesPlace
from survey.records.target import Target

TOKENIZER_LOCKS = "survey-tokenizers-"  # prefix of a temporary folder
ATTEMPTS_S = 30.0  # a driver that is killed loses at most this much of its record


def survey_models(
    request: RunRequest,
    settings: Settings,
    store: CatalogStore,
    progress: Progress,
    ledger: RunLedger | None = None,
) -> RunLedger:
    """Survey the models into the catalog, and keep finished results whatever happens.

    ledger: filled during the run and returned; a caller that passes one can report it even if the run
    raises. Raises CatalogInUse if another run holds the catalog.
    """
    run = Run(request, settings, store, progress, ledger or RunLedger(settings.run_id))
    with catalog_lock(store, settings.run_id) as lock:
        run.survey(lock)
    return run.ledger


class Run:
    """One run over a locked catalog. Its ledger holds all that is known at any time."""

    def __init__(
        self,
        request: RunRequest,
        settings: Settings,
        store: CatalogStore,
        progress: Progress,
        ledger: RunLedger,
    ) -> None:
        self.request = request
        self.settings = settings
        self.store = store
        self.progress = progress
        self.ledger = ledger
        self._throttle = LocalThrottle()
        self._recorded = time.monotonic()
        self._head = HeadProcess()

    def survey(self, lock: Lock) -> None:
        """Plan, measure, record, and merge loose files; a KeyboardInterrupt ends it with a record."""
        self.ledger.warnings += [lock.note] if lock.note else []
        try:
            self._plan_and_measure(lock)
        except KeyboardInterrupt:
            rows = read_committed(self.store, self.ledger.run_id, self.ledger.pending)
            self.ledger.record_stop(self.request.models, self.request.matrix, rows)
        finally:
            self._commit_last_attempts()
        if not self.ledger.interrupted:
            try:
                self._merge_loose_files(lock)
            except KeyboardInterrupt:
                self.ledger.interrupted = True

    def _plan_and_measure(self, lock: Lock) -> None:
        measured = self._open_catalog(lock)
        with self._head, self.progress:
            plan, criteria = self._plan(measured)
            self._fill_from_tokens(plan, measured)
            self.progress.measuring(len(plan.targets))
            self._copy_and_measure(plan)
            self._add_spectra(plan, measured)
            if any(item.unnamed for item in plan.unchanged):
                self._commit_attempts()  # naming may take minutes, and a second signal ends it at once
            self._name_stored(plan)
            self.ledger.older = _lacking_measures(plan, criteria)

    def _open_catalog(self, lock: Lock) -> MeasuredRows:
        """Remove leftovers, read the catalog's rows, and fix the run's name."""
        self.store.sweep()
        try:
            retire(self.store, lock)
        except SurveyError as error:  # merged files do no harm if they stay
            self.ledger.warnings.append(f"files that were merged are kept: {error}")
        measured = read_catalog(self.store, self.ledger)
        self.settings = replace(
            self.settings, run_id=self.ledger.run_id, tokenizer_tables=self._tokenizer_tables_place()
        )
        return measured

    def _tokenizer_tables_place(self) -> TokenizerTablesPlace | None:
        """Where the run's tokenizers are shared; None if the machine has no room for locks."""
        try:
            locks = temporary_folder(self, TOKENIZER_LOCKS)
        except OSError:
            return None
        return TokenizerTablesPlace(str(self.store), locks, self.request.resurvey)

    def _plan(self, measured: MeasuredRows) -> tuple[Plan, PlanCriteria]:
        self.progress.planning(len(self.request.models))
        if self.request.resurvey:
            measured = replace(NOTHING_MEASURED, unreadable=measured.unreadable)
        criteria = criteria_of(self.request, self.settings, measured)
        # Ray takes seconds to come up: it starts as soon as there is something to do.
        on_target = self._head.start if self.request.starts_ray else _nothing
        plan = make_plan(
            self.request.models, criteria, self.settings, self._throttle, self.progress.planned, on_target
        )
        self.ledger.record_plan(plan)
        return plan, criteria

    def _fill_from_tokens(self, plan: Plan, measured: MeasuredRows) -> None:
        """Compute newer measures of unchanged rows from their stored tokens."""
        try:
            filled = fill_from_tokens(self.store, measured, [item.key for item in plan.unchanged])
        except SurveyError as error:
            self.ledger.warnings.append(f"rows were not brought up to date: {error}")
            return
        self.ledger.filled = filled.rows
        self.ledger.warnings += [f"not brought up to date: {problem}" for problem in filled.problems]

    def _copy_and_measure(self, plan: Plan) -> None:
        """Measure each matrix once: rows of the same bytes are copied, of earlier runs and then of this one.

        A target whose row cannot be copied is measured: a fault of the other model is none of its own.
        """
        planned = {target.key for target in plan.targets}
        own = [target for target in plan.targets if target.key not in plan.sources]
        known = [target for target in plan.targets if target.key in plan.sources]
        later = [target for target in known if plan.sources[target.key] in planned]
        stored = [target for target in known if plan.sources[target.key] not in planned]
        self._measure([*own, *self._copy(stored, plan)])
        delivered = {outcome.target.key for outcome in self.ledger.measured}
        ready = [target for target in later if plan.sources[target.key] in delivered]
        alone = [target for target in later if plan.sources[target.key] not in delivered]
        self._measure([*alone, *self._copy(ready, plan)])

    def _add_spectra(self, plan: Plan, measured: MeasuredRows) -> None:
        """Spectra of rows that are not measured; the record of the others is safe by then."""
        adder = SpectrumAdder(
            self.settings.spectrum, measured, self.store, self.ledger, self.progress, self._outcomes
        )
        adder.add(plan.unchanged)

    def _copy(self, targets: Sequence[Target], plan: Plan) -> list[Target]:
        """Copy the rows of targets; returns the targets for which that fails."""
        failed = []
        copies = copy_rows(targets, plan.sources, self.settings, self._throttle, self.store)
        with contextlib.closing(copies):
            for copied in copies:
                if copied.delivered is None:
                    failed.append(copied.target)
                    repo, source = copied.target.identity.repo, "@".join(plan.sources[copied.target.key][:2])
                    self.ledger.warnings.append(f"{repo}: not copied from {source}: {copied.problem}")
                else:
                    self.progress.finished(copied.target.key)
                    self.ledger.record_outcome(copied.delivered, 0)
                    self._commit_attempts_in_time()
        return failed

    def _measure(self, targets: Sequence[Target]) -> None:
        # In this process a commit follows its model, and a signal ends the run between the two.
        expected = len(targets) if self.request.executor == "ray" else 1
        # Closed at once if the run is stopped: Ray must have ended before the run's record is written.
        with (
            contextlib.closing(self._outcomes(targets)) as outcomes,
            Committer(self._committed, self.ledger.record_outcome, expected) as committer,
        ):
            for outcome, tries in outcomes:
                committer.take(outcome, tries)
                self._commit_attempts_in_time()

    def _committed(self, outcome: Outcome) -> Outcome:
        """Commit a delivery unless its task did; a delivery that cannot be committed is a failure."""
        if isinstance(outcome, Failed):
            return outcome
        try:
            return committed(outcome, self.store)
        except SurveyError as error:
            return Failed(
                outcome.target,
                error.reason,
                str(error),
                outcome.fetched_bytes,
                outcome.elapsed_s,
                outcome.host,
            )

    def _commit_attempts_in_time(self) -> None:
        if time.monotonic() - self._recorded > ATTEMPTS_S:
            self._commit_attempts()
            self._recorded = time.monotonic()

    def _outcomes(self, targets: Sequence[Target]) -> Generator[tuple[Outcome, int], None, None]:
        if not targets:  # starting Ray takes seconds
            return
        commit_to = self.store if self.store.commits_in_task else None
        if self.request.executor == "serial":
            yield from run_serially(targets, self.settings, self._throttle, self.progress, commit_to)
            return
        refuse_settings()
        from jobs.executors.ray_driver import run_on_ray  # here: loading Ray takes seconds
        from jobs.executors.ray_session import RayOptions

        request = self.request
        options = RayOptions(
            request.address, request.ship_code, request.connections, commit_to, self._head, len(targets)
        )
        yield from run_on_ray(targets, self.settings, self.progress, options)

    def _name_stored(self, plan: Plan) -> None:
        """Name the rows of unchanged models whose tokenizers were not read yet."""
        filled = name_stored(plan.unchanged, self.settings, self._throttle, self.store)
        self.ledger.named = filled.rows
        self.ledger.warnings += filled.problems

    def _commit_last_attempts(self) -> None:
        """Commit the attempts even if a signal arrives meanwhile."""
        try:
            self._commit_attempts()
        except KeyboardInterrupt:
            self.ledger.interrupted = True
            self._commit_attempts()

    def _commit_attempts(self) -> None:
        """Commit the attempts, or note why that fails: the measured rows are worth more than their record."""
        self.ledger.unrecorded = None
        if not self.ledger.attempts:
            return
        try:
            commit_attempts(self.store, self.ledger.run_id, attempts_table(self.ledger.attempts))
        except CommitError as error:
            self.ledger.unrecorded = str(error)

    def _merge_loose_files(self, lock: Lock) -> None:
        """Merge loose files if there are many. A failure is a warning: the rows are committed already."""
        if not lock.ours:
            self.ledger.warnings.append(
                f"another run took {self.store} over while this one was cut off from it"
            )
            return
        try:
            if is_due(self.store):
                self.ledger.compacted = compact(self.store, lock)
                # At once, as a question over thousands of loose files takes seconds until the next run. A
                # reader that has opened some of them lists the catalog again.
                self.ledger.compacted.removed += retire(self.store, lock)
        except SurveyError as error:
            self.ledger.warnings.append(f"loose files were not merged: {error}")


def _nothing() -> None: ...


def _lacking_measures(plan: Plan, criteria: PlanCriteria) -> int:
    """The number of unchanged rows without measures that only their matrices could give."""
    keys = {item.key for item in plan.unchanged}
    return sum(criteria.measured.lacks(key, criteria.measures) for key in keys)
