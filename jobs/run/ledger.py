"""The ledger of a run: outcomes as they become known, and an attempt for each model and matrix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from catalog.tables.inspection import LeftOut
from catalog.write.compact import Compacted
from jobs.executors.progress import TaskKey
from jobs.planning.plan import Plan, Unchanged, requested_matrices
from jobs.run.attempts import AttemptStamp, alias_result, attempt_of_task, attempt_without_task
from jobs.run.changes import Before, changes
from jobs.run.clock import RunClock
from jobs.tasks.outcome import Delivered, Failed, Outcome
from survey.records.catalog_rows import Attempt
from survey.records.target import MatrixChoice, ModelRef, Refusal, Target


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The outcome of one target, and the results of other revisions of its commit.

    attempts: of the target, then of each other revision.
    """

    outcome: Outcome
    aliases: Sequence[Unchanged | Refusal]
    attempts: Sequence[Attempt]


@dataclass(slots=True)
class RunLedger:
    """The outcomes of a run, in the order in which they became known.

    A signal may stop the run between any two statements, so each target's outcome is one entry that one
    append writes, and every list of outcomes is derived from the entries.
    """

    run_id: str
    plan: Plan | None = None  # None until it is made
    planned_attempts: list[Attempt] = field(default_factory=list)  # of models that need no task
    entries: list[LedgerEntry] = field(default_factory=list)
    set_aside: list[LeftOut] = field(default_factory=list)  # proved broken, and moved out of the catalog
    left_out: list[LeftOut] = field(default_factory=list)  # unreadable or foreign, and left where they are
    interrupted: bool = False
    compacted: Compacted | None = None
    filled: int = 0  # unchanged rows that got newer measures from their stored tokens
    named: int = 0  # unchanged rows that got names from their tokenizers
    spectra_added: int = 0  # to unchanged rows, and to copied ones
    spectra_copied: int = 0  # from rows of the same bytes
    no_spectra: list[str] = field(default_factory=list)  # why rows have none that was to be computed
    older: int = 0  # unchanged rows without measures that only their matrices could give
    warnings: list[str] = field(default_factory=list)
    unrecorded: str | None = None  # why the attempts are not in the catalog
    before: Before = Before()
    clock: RunClock = field(default_factory=RunClock)

    @property
    def measured(self) -> list[Delivered]:
        """Measured targets, in the order of the plan."""
        keys = [target.key for target in self.plan.targets] if self.plan else []
        order = {key: number for number, key in enumerate(keys)}
        delivered = [entry.outcome for entry in self.entries if isinstance(entry.outcome, Delivered)]
        return sorted(delivered, key=lambda outcome: order[outcome.target.key])

    @property
    def copied(self) -> list[Delivered]:
        """The measured targets whose rows are copies: their bytes were measured before."""
        return [outcome for outcome in self.measured if outcome.measured_from is not None]

    @property
    def spectra(self) -> int:
        """Spectra of this run: beside the rows that it measured, added to others, and copied."""
        beside = [outcome.spectrum for outcome in self.measured if outcome.spectrum is not None]
        computed = sum(spectrum.problem is None for spectrum in beside)
        return computed + self.spectra_added + self.spectra_copied

    @property
    def failed(self) -> list[Failed]:
        """Targets whose task failed or was stopped."""
        return [entry.outcome for entry in self.entries if isinstance(entry.outcome, Failed)]

    @property
    def unchanged(self) -> list[Unchanged]:
        """Matrices that were measured before, or under another revision of the same commit."""
        planned = self.plan.unchanged if self.plan else ()
        return [*planned, *(item for item in self._aliases() if isinstance(item, Unchanged))]

    @property
    def refused(self) -> list[Refusal]:
        """Models that the plan refuses, and other revisions of commits that failed."""
        planned = self.plan.refusals if self.plan else ()
        return [*planned, *(item for item in self._aliases() if isinstance(item, Refusal))]

    @property
    def attempts(self) -> list[Attempt]:
        """One for each model and matrix whose result is known."""
        return [*self.planned_attempts, *(item for entry in self.entries for item in entry.attempts)]

    @property
    def pending(self) -> list[Target]:
        """Targets whose outcome is not known yet."""
        ended = {entry.outcome.target.key for entry in self.entries}
        return [target for target in (self.plan.targets if self.plan else ()) if target.key not in ended]

    @property
    def repeated(self) -> list[Unchanged]:
        """Matrices that are counted already by another name: a revision of the same commit, a former name."""
        counted = {item.target.key for item in self.measured}
        repeated = []
        for item in self.unchanged:
            if item.key in counted:
                repeated.append(item)
            counted.add(item.key)
        return repeated

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        return 1 if self.refused or self.failed or self.unrecorded or self.set_aside else 0

    def record_plan(self, plan: Plan) -> None:
        """Record the plan, and the attempts of models that need no task."""
        without_task: list[Unchanged | Refusal] = [*plan.unchanged, *plan.refusals]
        self.planned_attempts = [attempt_without_task(item, self._stamp()) for item in without_task]
        self.plan = plan

    def record_outcome(self, outcome: Outcome, tries: int) -> None:
        """Record the outcome of a target after its commit, and of other revisions of its commit."""
        assert self.plan is not None
        same_commit = self.plan.aliases.get(outcome.target.key, ())
        aliases = [alias_result(alias, outcome) for alias in same_commit]
        if isinstance(outcome, Delivered) and outcome.spectrum is not None and outcome.spectrum.problem:
            self.no_spectra.append(f"{outcome.target.identity.repo}: {outcome.spectrum.problem}")
        attempts = [attempt_of_task(outcome, tries, self._stamp())]
        attempts += [attempt_without_task(item, self._stamp()) for item in aliases]
        self.entries.append(LedgerEntry(outcome, aliases, attempts))

    def record_stop(
        self,
        models: Iterable[ModelRef],
        matrix: MatrixChoice,
        committed: Mapping[TaskKey, Delivered] | None = None,
    ) -> None:
        """Record that the run was stopped, and what it did not reach: of its plan, or else of its list.

        committed: targets whose row this run committed although their outcome is not recorded yet; None:
        that could not be read.
        """
        self.interrupted = True
        if self.plan is None:
            problem = "the run was stopped while it was planned"
            first = requested_matrices(matrix)[0]
            stopped = [Refusal(model, first, "interrupted", f"{model}: {problem}") for model in models]
            self.record_plan(Plan([], [], stopped, {}))
            return
        problem = "the run was stopped"
        if committed is None:
            problem += "; whether its row was committed is unknown, as the catalog cannot be read"
        for target in self.pending:
            delivered = (committed or {}).get(target.key)
            stop = Failed(target, "interrupted", f"{target.identity.repo}: {problem}")
            was_measured = delivered is not None and delivered.measured_from is None
            self.record_outcome(delivered or stop, 1 if was_measured else 0)

    def _aliases(self) -> Iterable[Unchanged | Refusal]:
        return (item for entry in self.entries for item in entry.aliases)

    def _stamp(self) -> AttemptStamp:
        return AttemptStamp(self.run_id, self.clock.now())


def summary_json(ledger: RunLedger) -> str:
    """A run's outcome for other programs: counts, what changed, and every attempt."""
    return json.dumps(
        {
            "run_id": ledger.run_id,
            "measured": len(ledger.measured),
            "unchanged": len(ledger.unchanged) - len(ledger.repeated),
            "repeated": len(ledger.repeated),
            "named": ledger.named,
            "copied": len(ledger.copied),
            "spectra": ledger.spectra,
            "failed": len(ledger.refused) + len(ledger.failed),
            "interrupted": ledger.interrupted,
            "changes": asdict(changes(ledger.attempts, ledger.before)),
            "attempts": [asdict(attempt) for attempt in ledger.attempts],
        },
        default=str,
        indent=2,
    )
