"""What a run did, as it becomes known: its outcomes, and an attempt for each model and matrix."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Literal

from catalog.tables.inspection import LeftOut
from catalog.write.compact import Compacted
from jobs.executors.progress import TaskKey
from jobs.planning.plan import Plan, Unchanged
from jobs.run.changes import Before, changes
from jobs.run.clock import RunClock
from jobs.tasks.outcome import Delivered, Failed, Outcome
from survey.records.catalog_rows import Attempt
from survey.records.target import MatrixName, ModelRef, Refusal, Target


@dataclass(slots=True)
class RunLedger:
    """What a run did, in the order in which it became known."""

    run_id: str
    measured: list[Delivered] = field(default_factory=list)
    unchanged: list[Unchanged] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    set_aside: list[LeftOut] = field(default_factory=list)  # proved broken, and moved out of the catalog
    left_out: list[LeftOut] = field(default_factory=list)  # as they were found
    attempts: list[Attempt] = field(default_factory=list)
    # Targets whose outcome is not known yet; None before the plan is made.
    left: dict[TaskKey, Target] | None = None
    also: dict[TaskKey, list[Target]] = field(default_factory=dict)  # other revisions of the same commits
    interrupted: bool = False
    compacted: Compacted | None = None
    filled: int = 0  # unchanged rows that newer measures were added to
    named: int = 0
    older: int = 0  # unchanged rows without measures that only their matrices could tell
    warnings: list[str] = field(default_factory=list)
    unrecorded: str | None = None  # why the attempts are not in the catalog
    before: Before = Before()
    clock: RunClock = field(default_factory=RunClock)

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        return 1 if self.refused or self.failed or self.unrecorded or self.set_aside else 0

    @property
    def repeated(self) -> list[Unchanged]:
        """Further names of matrices that are counted already: revisions of one commit, a former name."""
        seen = {item.target.key for item in self.measured}
        repeated = []
        for item in self.unchanged:
            if item.key in seen:
                repeated.append(item)
            seen.add(item.key)
        return repeated


def summary_json(result: RunLedger) -> str:
    """A run's outcome for other programs: counts, what changed, and every attempt."""
    return json.dumps(
        {
            "run_id": result.run_id,
            "measured": len(result.measured),
            "unchanged": len(result.unchanged) - len(result.repeated),
            "repeated": len(result.repeated),
            "named": result.named,
            "failed": len(result.refused) + len(result.failed),
            "interrupted": result.interrupted,
            "changes": asdict(changes(result.attempts, result.before)),
            "attempts": [asdict(attempt) for attempt in result.attempts],
        },
        default=str,
        indent=2,
    )


def note_ended(ended: Outcome, tries: int, result: RunLedger) -> None:
    """What came of a target, after its commit, and of other revisions of its commit."""
    key = ended.target.key
    assert result.left is not None
    del result.left[key]
    result.attempts.append(_of_task(ended, tries, result))
    if isinstance(ended, Delivered):
        result.measured.append(ended)
    else:
        result.failed.append(ended)
    for same in result.also.pop(key, []):
        _note_same(same, ended, result)


def note_interrupted(models: Iterable[ModelRef], matrix: MatrixName, result: RunLedger) -> None:
    """A run was stopped: what it did not come to, of its plan, or of its list where it has no plan yet."""
    result.interrupted = True
    if result.left is None:
        problem = "the run was stopped while it was planned"
        stopped = [Refusal(model, matrix, "interrupted", f"{model}: {problem}") for model in models]
        note_plan(Plan([], [], stopped, {}), result)
        return
    for target in list(result.left.values()):
        note_ended(Failed(target, "interrupted", f"{target.identity.repo}: the run was stopped"), 0, result)


def note_plan(plan: Plan, result: RunLedger) -> None:
    result.left = {target.key: target for target in plan.targets}
    result.also = dict(plan.also)
    result.unchanged, result.refused = plan.unchanged, plan.refusals
    for item in plan.unchanged:
        result.attempts.append(_of_driver(result, item.model, item.sha, item.matrix, "unchanged"))
    for refusal in plan.refusals:
        attempt = _of_driver(
            result,
            refusal.model,
            refusal.sha,
            refusal.matrix,
            "failed",
            refusal.reason,
            refusal.message,
            refusal.fetched_bytes,
            refusal.elapsed_s,
        )
        result.attempts.append(attempt)


def _note_same(same: Target, ended: Outcome, result: RunLedger) -> None:
    """Another revision of a commit that was measured, or failed, under the first."""
    identity = same.identity
    model = ModelRef(identity.repo, identity.revision, same.folder, same.listed_in or "", same.pattern)
    if isinstance(ended, Failed):
        result.refused.append(Refusal(model, identity.matrix, ended.reason, ended.message, identity.sha))
        outcome: tuple[Literal["failed", "unchanged"], str | None, str | None]
        outcome = ("failed", ended.reason, ended.message)
    else:
        result.unchanged.append(Unchanged(model, identity.sha, identity.matrix))
        outcome = ("unchanged", None, None)
    result.attempts.append(_of_driver(result, model, identity.sha, identity.matrix, *outcome))


def _of_driver(
    result: RunLedger,
    model: ModelRef,
    sha: str | None,
    matrix: str,
    status: Literal["unchanged", "failed"],
    reason: str | None = None,
    message: str | None = None,
    fetched_bytes: int = 0,
    elapsed_s: float = 0.0,
) -> Attempt:
    """What the driver knew without a task of its own."""
    return Attempt(
        run_id=result.run_id,
        repo=model.name,
        revision=model.revision or "main",
        pattern=model.pattern,
        listed_in=model.listed_in,
        sha=sha,
        matrix=matrix,
        status=status,
        reason=reason,
        message=message,
        tries=0,
        fetched_bytes=fetched_bytes,
        elapsed_s=elapsed_s,
        host=socket.gethostname(),
        finished_at=result.clock.now(),
    )


def _of_task(outcome: Outcome, tries: int, result: RunLedger) -> Attempt:
    identity = outcome.target.identity
    failed = isinstance(outcome, Failed)
    return Attempt(
        run_id=result.run_id,
        repo=identity.repo,
        revision=identity.revision,
        pattern=outcome.target.pattern,
        listed_in=outcome.target.listed_in,
        sha=identity.sha,
        matrix=identity.matrix,
        status="failed" if failed else "measured",
        reason=outcome.reason if isinstance(outcome, Failed) else None,
        message=outcome.message if isinstance(outcome, Failed) else None,
        tries=tries,
        fetched_bytes=outcome.fetched_bytes,
        elapsed_s=outcome.elapsed_s,
        host=outcome.host,
        finished_at=result.clock.now(),
    )
