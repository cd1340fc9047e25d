"""The whole of `survey run`: plan, measure, commit, and write down what happened."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Literal

from catalog.commit import commit_attempts
from catalog.compact import Compacted, compact, is_due, retire
from catalog.done import NOTHING_DONE, Done, read_done
from catalog.files import File
from catalog.fill import Filled
from catalog.lock import Held, held
from catalog.place import Place
from catalog.read import Reader
from catalog.tables import attempts_table
from jobs.changes import Before, changes, read_before
from jobs.distances import DISTANCES
from jobs.fill import fill_from_tokens
from jobs.name_stored import name_stored
from jobs.outcome import Delivered, Failed, Outcome
from jobs.plan import Plan, Unchanged, Wanted, make_plan
from jobs.progress import Progress
from jobs.serial import run_serially
from jobs.task import committed
from survey.errors import CommitError, SurveyError
from survey.measures import versions
from survey.pace import OwnPace
from survey.records import Attempt, MatrixChoice, MatrixName, ModelRef, Refusal, Settings, Target

ATTEMPTS_S = 30.0  # how much of what is known a killed driver may lose

Executor = Literal["ray", "serial"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be surveyed, and by whom. address: a Ray cluster; None starts an embedded one.

    connections: at most so many at a time in the whole run; None is 8 for each running model.
    """

    models: Sequence[ModelRef]
    matrix: MatrixChoice = "output"
    resurvey: bool = False
    executor: Executor = "ray"
    address: str | None = None
    ship_code: bool = False
    connections: int | None = None


@dataclass(slots=True)
class Result:
    """What a run did, in the order in which it became known."""

    run_id: str
    measured: list[Delivered] = field(default_factory=list)
    unchanged: list[Unchanged] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    set_aside: list[File] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    interrupted: bool = False
    compacted: Compacted | None = None
    filled: int = 0  # unchanged rows that newer measures were added to
    named: int = 0
    older: int = 0  # unchanged rows without measures that only their matrices could tell
    warnings: list[str] = field(default_factory=list)
    before: Before = Before()

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        return 1 if self.refused or self.failed else 0


def new_run_id() -> str:
    """The time, to the microsecond: it sorts, and names the run's file of attempts."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S-%f")


def run(request: Request, settings: Settings, place: Place, progress: Progress) -> Result:
    """Survey the models into the catalog, and keep what is finished whatever happens.

    Raises CatalogInUse where another run holds the catalog.
    """
    result = Result(settings.run_id)
    pace = OwnPace()
    with held(place, settings.run_id) as lock:
        place.sweep()
        with contextlib.suppress(CommitError):  # they are in the way of nothing
            retire(place, lock)
        done = _done(place, result)
        try:
            with progress:
                progress.planning(len(request.models))
                wanted = Wanted(
                    request.matrix, _versions(settings), NOTHING_DONE if request.resurvey else done
                )
                plan = _plan(request, wanted, settings, pace, progress, result)
                _fill(plan, done, place, result)
                progress.measuring(len(plan.targets))
                _measure(plan, request, settings, pace, place, progress, result)
                order = {target.key: number for number, target in enumerate(plan.targets)}
                _name_stored(plan, settings, pace, place, result)
                result.older = _older(plan, wanted)
                result.measured.sort(key=lambda item: order[item.target.key])
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            if result.attempts:
                commit_attempts(place, result.run_id, attempts_table(result.attempts))
        if not result.interrupted:
            _tidy(place, lock, result)
    return result


def compact_now(place: Place) -> tuple[Compacted, Filled]:
    """Bring all rows up to date from their tokens, then merge loose files into parts.

    Raises CatalogInUse, CommitError.
    """
    with held(place, new_run_id()) as lock:
        place.sweep()
        with Reader(place) as reader:
            done = read_done(reader)
        filled = fill_from_tokens(place, done)
        return compact(place, lock), filled


def plan_only(
    request: Request, settings: Settings, done: Done, progress: Progress, *, explain: bool = False
) -> Plan:
    """The plan, without measuring anything."""
    wanted = Wanted(request.matrix, _versions(settings), done, explain)
    with progress:
        progress.planning(len(request.models))
        return make_plan(request.models, wanted, settings, OwnPace(), progress.planned)


def summary_json(result: Result) -> str:
    """A run's outcome for other programs: counts, what changed, and every attempt."""
    return json.dumps(
        {
            "run_id": result.run_id,
            "measured": len(result.measured),
            "unchanged": len(result.unchanged),
            "named": result.named,
            "failed": len(result.refused) + len(result.failed),
            "interrupted": result.interrupted,
            "changes": asdict(changes(result.attempts, result.before)),
            "attempts": [asdict(attempt) for attempt in result.attempts],
        },
        default=str,
        indent=2,
    )


def _versions(settings: Settings) -> dict[str, int]:
    """What a row must hold to answer this run."""
    return versions(settings.tokens) | (DISTANCES if settings.reference else {})


def _done(place: Place, result: Result) -> Done:
    """What the catalog holds; damaged files are moved out of it first, so they are made anew."""
    with Reader(place) as reader:
        done = read_done(reader)
        result.before = read_before(reader)
        result.set_aside = reader.damaged
    for file in result.set_aside:
        place.set_aside(file)
    return done


def _fill(plan: Plan, done: Done, place: Place, result: Result) -> None:
    """Rows that stay as they are get what newer measures say of their stored tokens."""
    keys = [(str(item.model.folder or item.model.repo), item.sha, item.matrix) for item in plan.unchanged]
    try:
        filled = fill_from_tokens(place, done, keys)
    except SurveyError as error:
        result.warnings.append(f"rows were not brought up to date: {error}")
        return
    result.filled = filled.rows
    result.warnings += [f"not brought up to date: {problem}" for problem in filled.problems]


def _tidy(place: Place, lock: Held, result: Result) -> None:
    """Merge loose files where there are many. What was measured is safe whatever comes of it."""
    if not lock.ours:
        result.warnings.append(f"another run took {place} over while this one was cut off from it")
        return
    try:
        if is_due(place):
            result.compacted = compact(place, lock)
    except SurveyError as error:
        result.warnings.append(f"loose files were not merged: {error}")


def _plan(
    request: Request,
    wanted: Wanted,
    settings: Settings,
    pace: OwnPace,
    progress: Progress,
    result: Result,
) -> Plan:
    try:
        plan = make_plan(request.models, wanted, settings, pace, progress.planned)
    except KeyboardInterrupt:
        matrix: MatrixName = "input" if request.matrix == "input" else "output"
        problem = "the run was stopped while it was planned"
        stopped = [Refusal(model, matrix, "interrupted", f"{model}: {problem}") for model in request.models]
        _note_plan(Plan([], [], stopped, {}), result)
        raise
    _note_plan(plan, result)
    return plan


def _measure(
    plan: Plan,
    request: Request,
    settings: Settings,
    pace: OwnPace,
    place: Place,
    progress: Progress,
    result: Result,
) -> None:
    left = {target.key: target for target in plan.targets}
    written = time.monotonic()
    try:
        for outcome, tries in _outcomes(plan.targets, request, settings, pace, place, progress):
            ended = _committed(outcome, place)
            if isinstance(ended, Delivered):
                result.measured.append(ended)
            else:
                result.failed.append(ended)
            result.attempts.append(_attempt(ended, tries, result.run_id))
            for same in plan.also.get(ended.target.key, []):
                _note_same(same, ended, result)
            del left[ended.target.key]
            if time.monotonic() - written > ATTEMPTS_S:
                commit_attempts(place, result.run_id, attempts_table(result.attempts))
                written = time.monotonic()
    except KeyboardInterrupt:
        for target in left.values():
            failed = Failed(target, "interrupted", f"{target.identity.repo}: the run was stopped")
            result.failed.append(failed)
            result.attempts.append(_attempt(failed, 0, result.run_id))
        raise


def _name_stored(plan: Plan, settings: Settings, pace: OwnPace, place: Place, result: Result) -> None:
    filled = name_stored(plan.unchanged, settings, pace, place)
    result.named = filled.rows
    result.warnings += filled.problems


def _older(plan: Plan, wanted: Wanted) -> int:
    """Unchanged rows without measures that only their matrices could tell."""
    keys = {
        (str(item.model.folder or item.model.repo), item.sha, str(item.matrix)) for item in plan.unchanged
    }
    return sum(wanted.done.lacks(key, wanted.measures) for key in keys)


def _outcomes(
    targets: Sequence[Target],
    request: Request,
    settings: Settings,
    pace: OwnPace,
    place: Place,
    progress: Progress,
) -> Iterator[tuple[Outcome, int]]:
    if not targets:  # starting Ray takes seconds
        return iter(())
    commit_to = place if place.commits_in_task else None
    if request.executor == "serial":
        return run_serially(targets, settings, pace, progress, commit_to)
    from jobs.cluster import run_on_ray
    from jobs.cluster_join import RayOptions

    options = RayOptions(request.address, request.ship_code, request.connections, commit_to)
    return run_on_ray(targets, settings, progress, options)


def _committed(outcome: Outcome, place: Place) -> Outcome:
    """Put a delivery into the catalog, unless its task did; one that cannot be written is a failure."""
    if isinstance(outcome, Failed):
        return outcome
    try:
        return committed(outcome, place)
    except SurveyError as error:
        return Failed(
            outcome.target,
            error.reason,
            str(error),
            outcome.fetched_bytes,
            outcome.elapsed_s,
            outcome.host,
        )


def _note_plan(plan: Plan, result: Result) -> None:
    result.unchanged, result.refused = plan.unchanged, plan.refusals
    for item in plan.unchanged:
        result.attempts.append(_plain_attempt(result.run_id, item.model, item.sha, item.matrix, "unchanged"))
    for refusal in plan.refusals:
        attempt = _plain_attempt(
            result.run_id,
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


def _note_same(same: Target, ended: Outcome, result: Result) -> None:
    """Another revision of a commit that was measured, or failed, under the first."""
    identity = same.identity
    model = ModelRef(identity.repo, identity.revision, same.folder, pattern=same.pattern)
    if isinstance(ended, Failed):
        result.refused.append(Refusal(model, identity.matrix, ended.reason, ended.message, identity.sha))
        outcome: tuple[Literal["failed", "unchanged"], str | None, str | None]
        outcome = ("failed", ended.reason, ended.message)
    else:
        result.unchanged.append(Unchanged(model, identity.sha, identity.matrix))
        outcome = ("unchanged", None, None)
    result.attempts.append(_plain_attempt(result.run_id, model, identity.sha, identity.matrix, *outcome))


def _plain_attempt(
    run_id: str,
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
        run_id=run_id,
        repo=str(model.folder or model.repo),
        revision=model.revision or "main",
        pattern=model.pattern,
        sha=sha,
        matrix=matrix,
        status=status,
        reason=reason,
        message=message,
        tries=0,
        fetched_bytes=fetched_bytes,
        elapsed_s=elapsed_s,
        host=socket.gethostname(),
        finished_at=_now(),
    )


def _attempt(outcome: Outcome, tries: int, run_id: str) -> Attempt:
    identity = outcome.target.identity
    failed = isinstance(outcome, Failed)
    return Attempt(
        run_id=run_id,
        repo=identity.repo,
        revision=identity.revision,
        pattern=outcome.target.pattern,
        sha=identity.sha,
        matrix=identity.matrix,
        status="failed" if failed else "measured",
        reason=outcome.reason if isinstance(outcome, Failed) else None,
        message=outcome.message if isinstance(outcome, Failed) else None,
        tries=tries,
        fetched_bytes=outcome.fetched_bytes,
        elapsed_s=outcome.elapsed_s,
        host=outcome.host,
        finished_at=_now(),
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
