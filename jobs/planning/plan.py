"""The plan: what each model costs, or why it is refused, before anything is launched."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from catalog.read.measured import MeasuredRows
from jobs.planning.known_commits import commits_listed, glance
from jobs.planning.memory import task_memory_bytes
from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.tokenizer_files import tokenizer_files
from survey.errors import NoHub, NotOffered, NotThere, SurveyError
from survey.hub.throttle import Throttle
from survey.opening import open_checkpoint
from survey.process.redaction import redacted
from survey.records.measures import TOKENIZER, Measure
from survey.records.settings import Settings
from survey.records.target import MatrixChoice, MatrixName, ModelRef, Refusal, Target, Traffic, name_with_part
from survey.targets.explain import Explanation, explain
from survey.targets.layout import lay_out
from survey.targets.locate import locate

PLANNERS = 8  # models asked about at a time, at most: the Hub's quota, not the link, is the limit


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A matrix that the catalog already holds at this commit.

    unnamed: the checkpoint, where the row was made without asking the tokenizer as it is asked now.
    """

    model: ModelRef
    sha: str
    matrix: MatrixName
    unnamed: Checkpoint | None = None

    @property
    def key(self) -> tuple[str, str, MatrixName]:
        return self.model.name, self.sha, self.matrix


@dataclass(frozen=True, slots=True)
class Explained:
    """Why these tensors of a model."""

    model: ModelRef
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Plan:
    """Every model's fate, in the order of the list.

    aliases: other revisions of a commit that is a target already: measured once, recorded under each.
    """

    targets: list[Target]
    unchanged: list[Unchanged]
    refusals: list[Refusal]
    aliases: dict[tuple[str, str, MatrixName], list[Target]]
    explained: list[Explained] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlanCriteria:
    """What a row must hold to count as done, and whether the choice of its tensor is to be explained.

    measures: what a stored row must have to answer this run.
    """

    matrix: MatrixChoice
    measures: Collection[Measure]
    done: MeasuredRows
    explain: bool = False


ModelPlans = list[Target | Unchanged | Refusal | Explained]
# A model's repository, by the name that it has now, and its commit, where that is known without much ado.
KnownCommit = Callable[[ModelRef], tuple[str, str] | None]


def make_plan(
    models: Sequence[ModelRef],
    wanted: PlanCriteria,
    settings: Settings,
    pace: Throttle,
    on_planned: Callable[[], None] = lambda: None,
) -> Plan:
    """Ask about every model, several at a time and all at one pace.

    Raises NoHub where nothing answers and no folder is on the list.
    """
    known: frozenset[str] = frozenset() if wanted.explain else wanted.done.repos()
    listed: dict[str, str] = {}

    def seen(model: ModelRef) -> tuple[str, str] | None:
        if model.name not in known or model.folder is not None:
            return None
        repo, sha = glance(model, listed, settings, pace)
        return name_with_part(repo, model.part), sha

    has_folders = any(model.folder is not None for model in models)

    def one(model: ModelRef) -> ModelPlans:
        started = time.monotonic()
        try:
            step = _plan_pattern(model, seen, wanted, settings, pace)
        except NoHub as error:
            if not has_folders:
                raise  # nothing on the list can be measured: told once, not for each model
            step = [Refusal(model, requested_matrices(wanted.matrix)[0], error.reason, str(error))]
        on_planned()
        elapsed_s = time.monotonic() - started
        return [replace(item, elapsed_s=elapsed_s) if isinstance(item, Refusal) else item for item in step]

    pool = ThreadPoolExecutor(min(PLANNERS, settings.connections), thread_name_prefix="plan")
    try:
        listed.update(commits_listed(models, known, settings, pace, pool))
        steps = [item for step in pool.map(one, models) for item in step]
    finally:
        # Not waited for: a server that stalls would hold up an interrupt.
        pool.shutdown(wait=False, cancel_futures=True)
    plan = Plan([], [], [], {})
    keys: set[tuple[str, str, MatrixName]] = set()
    for item in steps:
        if isinstance(item, Refusal):
            plan.refusals.append(item)
        elif isinstance(item, Unchanged):
            plan.unchanged.append(item)
        elif isinstance(item, Explained):
            plan.explained.append(item)
        elif item.key in keys:
            plan.aliases.setdefault(item.key, []).append(item)
        else:
            keys.add(item.key)
            plan.targets.append(item)
    return plan


def _plan_pattern(
    model: ModelRef, seen: KnownCommit, wanted: PlanCriteria, settings: Settings, pace: Throttle
) -> ModelPlans:
    """A revision with a `*` stands for every branch and tag that matches."""
    if model.revision is None or "*" not in model.revision:
        return _plan_one(model, seen, wanted, settings, pace)
    model = replace(model, pattern=model.revision)
    try:
        from survey.hub.api import refs

        found = refs(model.repo, settings, pace)
        names = [name for name in found if fnmatchcase(name, str(model.pattern))]
        if not names:
            raise NotOffered("revision-not-found", str(model), "no branch or tag matches")
    except NoHub:
        raise
    except SurveyError as error:
        return [Refusal(model, requested_matrices(wanted.matrix)[0], error.reason, str(error))]

    def told(one: ModelRef) -> tuple[str, str]:  # one answer told all their commits
        return one.name, found[str(one.revision)]

    steps = [_plan_one(replace(model, revision=name), told, wanted, settings, pace) for name in names]
    return [item for step in steps for item in step]


def _glanced(model: ModelRef, seen: tuple[str, str] | None, wanted: PlanCriteria) -> ModelPlans:
    """What the catalog holds of a repository at a commit, if it is all that is wanted; else nothing."""
    if seen is None or wanted.explain:
        return []
    repo, sha = seen
    finished = wanted.done.matrices(repo, sha, wanted.matrix, wanted.measures) or []
    if any(wanted.done.lacks((repo, sha, matrix), [TOKENIZER]) for matrix in finished):
        return []  # its tokenizer is to be asked
    return [Unchanged(replace(model, repo=repo, part=None), sha, matrix) for matrix in finished]


def _plan_one(
    model: ModelRef, seen: KnownCommit, wanted: PlanCriteria, settings: Settings, pace: Throttle
) -> ModelPlans:
    checkpoint: Checkpoint | None = None
    try:
        if model.problem is not None:
            raise NotThere("not-a-model", model.origin, *_with_remedy(model.problem))
        if unchanged := _glanced(model, seen(model), wanted):
            return unchanged
        checkpoint = open_checkpoint(model, settings, pace)
        sha = checkpoint.sha
        finished = wanted.done.matrices(checkpoint.repo, sha, wanted.matrix, wanted.measures)
        if finished is not None and not wanted.explain:
            return [_unchanged(model, checkpoint, matrix, wanted) for matrix in finished]
        return _plan_matrices(model, checkpoint, wanted, settings)
    except NoHub:
        raise
    except SurveyError as error:
        reason, message = error.reason, str(error)
    except MemoryError as error:
        reason, message = "out-of-memory", f"{model}: planning it takes more memory than there is: {error}"
    except Exception:  # noqa: BLE001 - our defect: it is recorded, and the other models go on
        reason, message = "internal", redacted(traceback.format_exc(limit=-3), settings.token)
    # Refused as a whole: recorded once, under the first matrix that was asked for.
    known = (checkpoint.sha, checkpoint.traffic.bytes) if checkpoint else (None, 0)
    return [Refusal(model, requested_matrices(wanted.matrix)[0], reason, message, *known)]


def _plan_matrices(
    model: ModelRef, checkpoint: Checkpoint, wanted: PlanCriteria, settings: Settings
) -> ModelPlans:
    """Each matrix by itself: one that is there, or refused, says nothing about the other."""
    layout = lay_out(checkpoint)
    step: ModelPlans = [Explained(model, explain(layout))] if wanted.explain else []
    counted = Traffic()
    for matrix in requested_matrices(wanted.matrix):
        if wanted.done.matrices(checkpoint.repo, checkpoint.sha, matrix, wanted.measures):
            step.append(_unchanged(model, checkpoint, matrix, wanted))
            continue
        try:
            wanted.done.refuse_unreadable((checkpoint.repo, checkpoint.sha, matrix))
            target = locate(layout, matrix)
        except SurveyError as error:
            cost = (checkpoint.traffic - counted).bytes
            step.append(Refusal(model, matrix, error.reason, str(error), checkpoint.sha, cost))
            counted = checkpoint.traffic
            continue
        # What planning cost is booked once: on the first matrix, and what the second added.
        names = tokenizer_files(checkpoint.files, checkpoint.part)
        planned = replace(
            target,
            planning=target.planning - counted,
            pattern=model.pattern,
            listed_in=model.listed_in,
            tokenizer_files=tuple(names.items()),
        )
        step.append(replace(planned, memory_bytes=task_memory_bytes(planned, settings)))
        counted = target.planning
        if target.identity.tied:
            break  # both are one
    return step


def _unchanged(
    model: ModelRef, checkpoint: Checkpoint, matrix: MatrixName, wanted: PlanCriteria
) -> Unchanged:
    unnamed = wanted.done.lacks((checkpoint.repo, checkpoint.sha, matrix), [TOKENIZER])
    # A renamed repository is known by the name that it has now.
    known = replace(model, repo=checkpoint.repo, part=None)
    return Unchanged(known, checkpoint.sha, matrix, checkpoint if unnamed else None)


def _with_remedy(problem: str) -> tuple[str, str]:
    """What is wrong with a line, and what to write instead, if that is said."""
    # What the line itself holds is in quotes.
    found = re.fullmatch(r"(.*); ([^'\"]*)", problem, re.DOTALL)
    return (found[1], found[2]) if found else (problem, "")


def requested_matrices(matrix: MatrixChoice) -> list[MatrixName]:
    """The matrices of a choice; a refusal of the whole model is recorded under the first."""
    return ["output", "input"] if matrix == "both" else [matrix]
