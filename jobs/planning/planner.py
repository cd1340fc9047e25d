"""Make the plan of a list: every model, several at a time, before anything is launched."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace

from jobs.planning.known_commits import read_known_commits
from jobs.planning.model_planner import ModelPlanner
from jobs.planning.plan import ModelPlan, Plan, PlanCriteria, plan_of
from jobs.planning.proofs import Prover
from jobs.planning.sources import StoredSources, sources_of
from survey.hub.throttle import Throttle
from survey.records.settings import Settings
from survey.records.target import ModelRef

PLANNERS = 8  # models planned at a time, at most: the Hub's quota is the limit, not the link
PLANNED_AHEAD = 1024  # models submitted while an earlier one is waited for


def make_plan(
    models: Sequence[ModelRef],
    criteria: PlanCriteria,
    settings: Settings,
    throttle: Throttle,
    on_planned: Callable[[], None] = lambda: None,
    on_target: Callable[[], None] = lambda: None,
) -> Plan:
    """Plan every model, several at a time and under one throttle.

    on_planned: called after each model. on_target: called by any thread for each that must be measured.

    Raises NoHub if the Hub does not answer and the list names no folder.
    """
    has_folders = any(model.folder is not None for model in models)
    repos = frozenset() if criteria.explain else criteria.measured.repos()
    pool = ThreadPoolExecutor(min(PLANNERS, settings.connections), thread_name_prefix="plan")
    try:
        known = read_known_commits(models, repos, settings, throttle, pool)
        stored = StoredSources(criteria)
        prover = Prover(stored, settings, throttle)
        model_planner = ModelPlanner(criteria, settings, throttle, known, has_folders, prover)

        def plan_one(model: ModelRef) -> ModelPlan:
            plan = model_planner.plan(model)
            if plan.targets:
                on_target()
            on_planned()
            return plan

        plan = plan_of(_planned(pool, plan_one, models))
        return replace(plan, sources=sources_of(plan.targets, stored))
    finally:
        # Not waited for: a server that stalls would hold up an interrupt.
        pool.shutdown(wait=False, cancel_futures=True)


def _planned(
    pool: Executor, plan_one: Callable[[ModelRef], ModelPlan], models: Iterable[ModelRef]
) -> Iterator[ModelPlan]:
    """The plans in the order of the list; a future of each model would take more than its plan."""
    waiting: deque[Future[ModelPlan]] = deque()
    for model in models:
        waiting.append(pool.submit(plan_one, model))
        if len(waiting) > PLANNED_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
