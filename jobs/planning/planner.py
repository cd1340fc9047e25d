"""Make the plan of a list: every model, several at a time, before anything is launched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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

        plan = plan_of(pool.map(plan_one, models))
        return replace(plan, sources=sources_of(plan.targets, stored))
    finally:
        # Not waited for: a server that stalls would hold up an interrupt.
        pool.shutdown(wait=False, cancel_futures=True)
