"""The plan: what each model costs, or why it is refused, before anything is launched."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from catalog.done import Done
from survey.errors import NotOffered, SurveyError
from survey.locate import locate
from survey.matrix import open_checkpoint
from survey.pace import Pace
from survey.records import MatrixChoice, MatrixName, ModelRef, Refusal, Settings, Target

PLANNERS = 8  # models asked about at a time; the Hub's quota, not the link, is the limit


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A matrix that the catalog already holds at this commit."""

    model: ModelRef
    sha: str
    matrix: MatrixName


@dataclass(frozen=True, slots=True)
class Plan:
    """Every model's fate, in the order of the list."""

    targets: list[Target]
    unchanged: list[Unchanged]
    refusals: list[Refusal]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row must hold to count as done. measures: name -> version."""

    matrix: MatrixChoice
    measures: Mapping[str, int]
    done: Done


Step = list[Target | Unchanged | Refusal]


def make_plan(
    models: Sequence[ModelRef],
    wanted: Wanted,
    settings: Settings,
    pace: Pace,
    on_planned: Callable[[], None] = lambda: None,
) -> Plan:
    """Ask about every model, several at a time and all at one pace."""

    def one(model: ModelRef) -> Step:
        step = _plan_pattern(model, wanted, settings, pace)
        on_planned()
        return step

    with ThreadPoolExecutor(PLANNERS, thread_name_prefix="plan") as pool:
        steps = [item for step in pool.map(one, models) for item in step]
    plan = Plan([], [], [])
    keys: set[tuple[str, str, MatrixName]] = set()
    for item in steps:
        if isinstance(item, Refusal):
            plan.refusals.append(item)
        elif isinstance(item, Unchanged):
            plan.unchanged.append(item)
        elif item.key in keys:  # two revisions of one commit: measured once, known under both
            identity = item.identity
            model = ModelRef(identity.repo, identity.revision, item.folder)
            plan.unchanged.append(Unchanged(model, identity.sha, identity.matrix))
        else:
            keys.add(item.key)
            plan.targets.append(item)
    return plan


def _plan_pattern(model: ModelRef, wanted: Wanted, settings: Settings, pace: Pace) -> Step:
    """A revision with a `*` stands for every branch and tag that matches."""
    if model.revision is None or "*" not in model.revision:
        return _plan_one(model, wanted, settings, pace)
    try:
        from survey.hub import refs

        names = [name for name in refs(model.repo, settings, pace) if fnmatchcase(name, model.revision)]
        if not names:
            raise NotOffered("revision-not-found", str(model), "no branch or tag matches")
    except SurveyError as error:
        return _refused(model, wanted.matrix, error)
    steps = [_plan_one(replace(model, revision=name), wanted, settings, pace) for name in names]
    return [item for step in steps for item in step]


def _plan_one(model: ModelRef, wanted: Wanted, settings: Settings, pace: Pace) -> Step:
    sha = None
    try:
        checkpoint = open_checkpoint(model, settings, pace)
        sha = checkpoint.sha
        finished = wanted.done.matrices(checkpoint.repo, sha, wanted.matrix, wanted.measures)
        if finished is not None:
            return [Unchanged(model, sha, matrix) for matrix in finished]
        return [*locate(checkpoint, wanted.matrix, settings.connections)]
    except SurveyError as error:
        return _refused(model, wanted.matrix, error, sha)
    except Exception:  # noqa: BLE001 - our defect: it is recorded, and the other models go on
        return [
            Refusal(model, name, "internal", traceback.format_exc(limit=-3), sha)
            for name in _first(wanted.matrix)
        ]


def _refused(model: ModelRef, matrix: MatrixChoice, error: SurveyError, sha: str | None = None) -> Step:
    return [Refusal(model, name, error.reason, str(error), sha) for name in _first(matrix)]


def _first(matrix: MatrixChoice) -> list[MatrixName]:
    """Under which matrix a model that was refused as a whole is recorded."""
    return ["output"] if matrix == "both" else [matrix]
