"""The plan of a run that measures nothing: `survey plan`, and `survey run --dry-run`."""

from __future__ import annotations

from catalog.read.measured import MeasuredRows
from jobs.executors.progress import Progress
from jobs.planning.plan import Plan
from jobs.planning.planner import make_plan
from jobs.run.request import RunRequest, criteria_of
from survey.hub.throttle import LocalThrottle
from survey.records.settings import Settings


def plan_only(
    request: RunRequest,
    settings: Settings,
    measured: MeasuredRows,
    progress: Progress,
    *,
    explain: bool = False,
) -> Plan:
    """The plan, without measuring anything. Raises NoHub as `make_plan`."""
    criteria = criteria_of(request, settings, measured, explain=explain)
    with progress:
        progress.planning(len(request.models))
        return make_plan(request.models, criteria, settings, LocalThrottle(), progress.planned)
