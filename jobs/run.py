"""The whole of `survey run`: plan, measure, commit, and write down what happened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from catalog.commit import commit_attempts
from catalog.compact import Compacted, compact, is_due, retire
from catalog.done import NOTHING_DONE, Done, read_done
from catalog.fill import Filled
from catalog.lock import Held, held
from catalog.place import Place
from catalog.read import Reader
from catalog.tables import attempts_table
from jobs.changes import read_before
from jobs.distances import DISTANCES
from jobs.fill import fill_from_tokens
from jobs.name_stored import name_stored
from jobs.outcome import Failed, Outcome
from jobs.plan import Plan, Wanted, make_plan
from jobs.progress import Progress
from jobs.result import Result, note_ended, note_plan, note_same, note_stopped
from jobs.serial import run_serially
from jobs.task import committed
from survey.errors import CommitError, SurveyError
from survey.measures import versions
from survey.pace import OwnPace
from survey.target import MatrixChoice, MatrixName, ModelRef, Refusal, Settings, Target

ATTEMPTS_S = 30.0  # how much of what is known a killed driver may lose

Executor = Literal["ray", "serial"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be surveyed, and by whom. address: a Ray cluster; None starts an embedded one.

    connections: at most so many at a time in the whole run; None is 16 for each running model.
    """

    models: Sequence[ModelRef]
    matrix: MatrixChoice = "output"
    resurvey: bool = False
    executor: Executor = "ray"
    address: str | None = None
    ship_code: bool = False
    connections: int | None = None


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
            _record(place, result)
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
    keys = [(item.model.name, item.sha, item.matrix) for item in plan.unchanged]
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
        note_plan(Plan([], [], stopped, {}), result)
        raise
    note_plan(plan, result)
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
            note_ended(ended, tries, result)
            for same in plan.also.get(ended.target.key, []):
                note_same(same, ended, result)
            del left[ended.target.key]
            if time.monotonic() - written > ATTEMPTS_S:
                _record(place, result)
                written = time.monotonic()
    except KeyboardInterrupt:
        note_stopped(left.values(), result)
        raise


def _record(place: Place, result: Result) -> None:
    """Write the attempts down, or why that cannot be: what was measured is worth more than its record."""
    result.unrecorded = None
    if not result.attempts:
        return
    try:
        commit_attempts(place, result.run_id, attempts_table(result.attempts))
    except CommitError as error:
        result.unrecorded = str(error)


def _name_stored(plan: Plan, settings: Settings, pace: OwnPace, place: Place, result: Result) -> None:
    filled = name_stored(plan.unchanged, settings, pace, place)
    result.named = filled.rows
    result.warnings += filled.problems


def _older(plan: Plan, wanted: Wanted) -> int:
    """Unchanged rows without measures that only their matrices could tell."""
    keys = {(item.model.name, item.sha, str(item.matrix)) for item in plan.unchanged}
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
