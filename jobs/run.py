"""The whole of `survey run`: plan, measure, commit, and write down what happened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from catalog.commit import commit, commit_attempts, set_aside, sweep
from catalog.done import NOTHING_DONE, Done, read_done
from catalog.lock import held
from catalog.place import Place
from catalog.read import Reader
from catalog.tables import attempts_table
from jobs.outcome import Delivered, Failed, Outcome
from jobs.plan import Plan, Unchanged, Wanted, make_plan
from jobs.progress import Progress
from jobs.serial import run_serially
from survey.errors import SurveyError
from survey.measures import versions
from survey.pace import OwnPace
from survey.records import Attempt, MatrixChoice, ModelRef, Refusal, Settings, Target

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
    set_aside: list[Path] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return 130
        return 1 if self.refused or self.failed else 0


def new_run_id() -> str:
    """Sorts by time; two runs on one catalog cannot start in the same microsecond: they lock it."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S-%f")


def run(request: Request, settings: Settings, place: Place, progress: Progress) -> Result:
    """Survey the models into the catalog, and keep what is finished whatever happens.

    Raises CatalogInUse where another run holds the catalog.
    """
    result = Result(settings.run_id)
    pace = OwnPace()
    with held(place):
        sweep(place)
        done = _done(place, result)
        try:
            with progress:
                progress.planning(len(request.models))
                wanted = Wanted(
                    request.matrix, versions(settings.tokens), NOTHING_DONE if request.resurvey else done
                )
                plan = make_plan(request.models, wanted, settings, pace, progress.planned)
                _note_plan(plan, result)
                progress.measuring(len(plan.targets))
                _measure(plan.targets, request, settings, pace, place, progress, result)
                order = {target.key: number for number, target in enumerate(plan.targets)}
                result.measured.sort(key=lambda item: order[item.target.key])
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            if result.attempts:
                commit_attempts(place, result.run_id, attempts_table(result.attempts))
    return result


def plan_only(request: Request, settings: Settings, done: Done, progress: Progress) -> Plan:
    """The plan, without measuring anything."""
    wanted = Wanted(request.matrix, versions(settings.tokens), done)
    with progress:
        progress.planning(len(request.models))
        return make_plan(request.models, wanted, settings, OwnPace(), progress.planned)


def summary_json(result: Result) -> str:
    """A run's outcome for other programs: counts, and every attempt."""
    return json.dumps(
        {
            "run_id": result.run_id,
            "measured": len(result.measured),
            "unchanged": len(result.unchanged),
            "failed": len(result.refused) + len(result.failed),
            "interrupted": result.interrupted,
            "attempts": [asdict(attempt) for attempt in result.attempts],
        },
        default=str,
        indent=2,
    )


def _done(place: Place, result: Result) -> Done:
    """What the catalog holds; damaged files are moved out of it first, so they are made anew."""
    with Reader(place) as reader:
        done = read_done(reader)
        result.set_aside = [set_aside(place, file) for file in reader.damaged]
    return done


def _measure(
    targets: Sequence[Target],
    request: Request,
    settings: Settings,
    pace: OwnPace,
    place: Place,
    progress: Progress,
    result: Result,
) -> None:
    left = {target.key: target for target in targets}
    try:
        for outcome, tries in _outcomes(targets, request, settings, pace, progress):
            committed = _committed(outcome, place)
            if isinstance(committed, Delivered):
                result.measured.append(committed)
            else:
                result.failed.append(committed)
            result.attempts.append(_attempt(committed, tries, result.run_id))
            del left[outcome.target.key]
    except KeyboardInterrupt:
        for target in left.values():
            failed = Failed(target, "interrupted", f"{target.identity.repo}: the run was stopped")
            result.failed.append(failed)
            result.attempts.append(_attempt(failed, 0, result.run_id))
        raise


def _outcomes(
    targets: Sequence[Target],
    request: Request,
    settings: Settings,
    pace: OwnPace,
    progress: Progress,
) -> Iterator[tuple[Outcome, int]]:
    if not targets:  # starting Ray takes seconds
        return iter(())
    if request.executor == "serial":
        return run_serially(targets, settings, pace, progress)
    from jobs.cluster import run_on_ray
    from jobs.cluster_join import RayOptions

    options = RayOptions(request.address, request.ship_code, request.connections)
    return run_on_ray(targets, settings, progress, options)


def _committed(outcome: Outcome, place: Place) -> Outcome:
    """Put a delivery into the catalog; one that cannot be written is a failure."""
    if isinstance(outcome, Failed):
        return outcome
    try:
        commit(place, outcome.tables)
    except SurveyError as error:
        return Failed(
            outcome.target,
            error.reason,
            str(error),
            outcome.fetched_bytes,
            outcome.elapsed_s,
            outcome.host,
        )
    return outcome


def _note_plan(plan: Plan, result: Result) -> None:
    result.unchanged, result.refused = plan.unchanged, plan.refusals
    for item in plan.unchanged:
        repo = str(item.model.folder or item.model.repo)
        result.attempts.append(
            _plain_attempt(result.run_id, repo, item.model.revision, item.sha, item.matrix, "unchanged")
        )
    for refusal in plan.refusals:
        model = refusal.model
        attempt = _plain_attempt(
            result.run_id,
            str(model.folder or model.repo),
            model.revision,
            refusal.sha,
            refusal.matrix,
            "failed",
            refusal.reason,
            refusal.message,
        )
        result.attempts.append(attempt)


def _plain_attempt(
    run_id: str,
    repo: str,
    revision: str | None,
    sha: str | None,
    matrix: str,
    status: Literal["unchanged", "failed"],
    reason: str | None = None,
    message: str | None = None,
) -> Attempt:
    return Attempt(
        run_id=run_id,
        repo=repo,
        revision=revision or "main",
        sha=sha,
        matrix=matrix,
        status=status,
        reason=reason,
        message=message,
        tries=0,
        fetched_bytes=0,
        elapsed_s=0.0,
        host=None,
        finished_at=_now(),
    )


def _attempt(outcome: Outcome, tries: int, run_id: str) -> Attempt:
    identity = outcome.target.identity
    failed = isinstance(outcome, Failed)
    return Attempt(
        run_id=run_id,
        repo=identity.repo,
        revision=identity.revision,
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
