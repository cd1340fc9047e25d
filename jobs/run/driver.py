"""The whole of `survey run`: plan, measure, commit, and write down what happened."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from catalog.read.measured import NOTHING_MEASURED, MeasuredRows, read_measured
from catalog.read.reader import Reader
from catalog.store.lock import Lock, catalog_lock
from catalog.store.open import CatalogStore
from catalog.write.arrow_tables import attempts_table
from catalog.write.backfill import Filled
from catalog.write.commit import commit_attempts
from catalog.write.compact import Compacted, compact, is_due
from catalog.write.retire import retire
from jobs.backfill.from_tokenizer import name_stored
from jobs.backfill.from_tokens import fill_from_tokens
from jobs.executors.progress import Progress
from jobs.executors.serial import run_serially
from jobs.planning.plan import Plan, PlanCriteria, make_plan
from jobs.run.catalog_state import read_catalog
from jobs.run.clock import new_run_id
from jobs.run.ledger import RunLedger, note_ended, note_interrupted, note_plan
from jobs.tasks.measure_one import committed
from jobs.tasks.outcome import Failed, Outcome
from survey.errors import CommitError, SurveyError
from survey.hub.throttle import LocalThrottle
from survey.measures import required_measures
from survey.records.measures import Measure
from survey.records.settings import Settings
from survey.records.target import MatrixChoice, ModelRef, Target

ATTEMPTS_S = 30.0  # how much of what is known a killed driver may lose

Executor = Literal["ray", "serial"]


@dataclass(frozen=True, slots=True)
class RunRequest:
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


def survey_models(
    request: RunRequest,
    settings: Settings,
    place: CatalogStore,
    progress: Progress,
    result: RunLedger | None = None,
) -> RunLedger:
    """Survey the models into the catalog, and keep what is finished whatever happens.

    result: filled as things become known, for a caller who tells them although the run raises; it is
    returned. Raises CatalogInUse where another run holds the catalog.
    """
    result = result or RunLedger(settings.run_id)
    with catalog_lock(place, settings.run_id) as lock:
        result.warnings += [lock.note] if lock.note else []
        try:
            _survey(request, settings, place, lock, progress, result)
        except KeyboardInterrupt:
            note_interrupted(request.models, "input" if request.matrix == "input" else "output", result)
        finally:
            _record_surely(place, result)
        if not result.interrupted:
            try:
                _tidy(place, lock, result)
            except KeyboardInterrupt:
                result.interrupted = True
    return result


def _survey(
    request: RunRequest,
    settings: Settings,
    place: CatalogStore,
    lock: Lock,
    progress: Progress,
    result: RunLedger,
) -> None:
    pace = LocalThrottle()
    place.sweep()
    try:
        retire(place, lock)
    except SurveyError as error:  # they are in the way of nothing
        result.warnings.append(f"files that were merged are kept: {error}")
    done = read_catalog(place, result)
    settings = replace(settings, run_id=result.run_id)
    with progress:
        progress.planning(len(request.models))
        known = replace(NOTHING_MEASURED, unreadable=done.unreadable) if request.resurvey else done
        wanted = PlanCriteria(request.matrix, _required_measures(settings), known)
        plan = make_plan(request.models, wanted, settings, pace, progress.planned)
        note_plan(plan, result)
        _fill(plan, done, place, result)
        progress.measuring(len(plan.targets))
        _measure(plan, request, settings, pace, place, progress, result)
        if any(item.unnamed for item in plan.unchanged):
            _record(place, result)  # naming may take minutes, and a second signal ends it at once
        order = {target.key: number for number, target in enumerate(plan.targets)}
        _name_stored(plan, settings, pace, place, result)
        result.older = _older(plan, wanted)
        result.measured.sort(key=lambda item: order[item.target.key])


def compact_now(place: CatalogStore) -> tuple[Compacted, Filled, str]:
    """Bring all rows up to date from their tokens, then merge loose files into parts.

    Returns what a person should know of the lock, too. Raises CatalogInUse, CommitError.
    """
    with catalog_lock(place, new_run_id()) as lock:
        place.sweep()
        with Reader(place) as reader:
            done = read_measured(reader)
        filled = fill_from_tokens(place, done)
        return compact(place, lock), filled, lock.note


def plan_only(
    request: RunRequest, settings: Settings, done: MeasuredRows, progress: Progress, *, explain: bool = False
) -> Plan:
    """The plan, without measuring anything."""
    wanted = PlanCriteria(request.matrix, _required_measures(settings), done, explain)
    with progress:
        progress.planning(len(request.models))
        return make_plan(request.models, wanted, settings, LocalThrottle(), progress.planned)


def _required_measures(settings: Settings) -> tuple[Measure, ...]:
    """What a row must hold to answer this run."""
    return required_measures(tokens=settings.tokens, reference=settings.reference is not None)


def _fill(plan: Plan, done: MeasuredRows, place: CatalogStore, result: RunLedger) -> None:
    """Rows that stay as they are get what newer measures say of their stored tokens."""
    keys = [(item.model.name, item.sha, item.matrix) for item in plan.unchanged]
    try:
        filled = fill_from_tokens(place, done, keys)
    except SurveyError as error:
        result.warnings.append(f"rows were not brought up to date: {error}")
        return
    result.filled = filled.rows
    result.warnings += [f"not brought up to date: {problem}" for problem in filled.problems]


def _tidy(place: CatalogStore, lock: Lock, result: RunLedger) -> None:
    """Merge loose files where there are many. What was measured is safe whatever comes of it."""
    if not lock.ours:
        result.warnings.append(f"another run took {place} over while this one was cut off from it")
        return
    try:
        if is_due(place):
            result.compacted = compact(place, lock)
    except SurveyError as error:
        result.warnings.append(f"loose files were not merged: {error}")


def _measure(
    plan: Plan,
    request: RunRequest,
    settings: Settings,
    pace: LocalThrottle,
    place: CatalogStore,
    progress: Progress,
    result: RunLedger,
) -> None:
    written = time.monotonic()
    # Closed at once where the run is stopped: then nothing of Ray's is left when its record is written.
    with contextlib.closing(_outcomes(plan.targets, request, settings, pace, place, progress)) as outcomes:
        for outcome, tries in outcomes:
            note_ended(_committed(outcome, place), tries, result)
            if time.monotonic() - written > ATTEMPTS_S:
                _record(place, result)
                written = time.monotonic()


def _record_surely(place: CatalogStore, result: RunLedger) -> None:
    """Of a stop that comes just now, too, it is known what the run did."""
    try:
        _record(place, result)
    except KeyboardInterrupt:
        result.interrupted = True
        _record(place, result)


def _record(place: CatalogStore, result: RunLedger) -> None:
    """Write the attempts down, or why that cannot be: what was measured is worth more than its record."""
    result.unrecorded = None
    if not result.attempts:
        return
    try:
        commit_attempts(place, result.run_id, attempts_table(result.attempts))
    except CommitError as error:
        result.unrecorded = str(error)


def _name_stored(
    plan: Plan, settings: Settings, pace: LocalThrottle, place: CatalogStore, result: RunLedger
) -> None:
    filled = name_stored(plan.unchanged, settings, pace, place)
    result.named = filled.rows
    result.warnings += filled.problems


def _older(plan: Plan, wanted: PlanCriteria) -> int:
    """Unchanged rows without measures that only their matrices could tell."""
    keys = {(item.model.name, item.sha, str(item.matrix)) for item in plan.unchanged}
    return sum(wanted.done.lacks(key, wanted.measures) for key in keys)


def _outcomes(
    targets: Sequence[Target],
    request: RunRequest,
    settings: Settings,
    pace: LocalThrottle,
    place: CatalogStore,
    progress: Progress,
) -> Generator[tuple[Outcome, int], None, None]:
    if not targets:  # starting Ray takes seconds
        return
    commit_to = place if place.commits_in_task else None
    if request.executor == "serial":
        yield from run_serially(targets, settings, pace, progress, commit_to)
        return
    from jobs.executors.ray_driver import run_on_ray
    from jobs.executors.ray_session import RayOptions

    options = RayOptions(request.address, request.ship_code, request.connections, commit_to)
    yield from run_on_ray(targets, settings, progress, options)


def _committed(outcome: Outcome, place: CatalogStore) -> Outcome:
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
