"""What a failed call of Ray says about a task: a reason of the catalog, and the problem in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError

from jobs.executors.ray_workload import RayTask


def reason_of(error: RayError) -> tuple[str, str]:
    """The reason and the problem. `internal`: the task itself raised, which another try would, too."""
    if isinstance(error, OutOfMemoryError):
        return "out-of-memory", _first_line(error)
    if isinstance(error, RayTaskError):
        return "internal", str(error)
    if isinstance(error, GetTimeoutError):
        return "node-lost", "it ended, but its node does not answer"
    if isinstance(error, WorkerCrashedError):
        return "node-lost", "its worker process died"
    return "node-lost", _first_line(error)


def last_started(batch: Sequence[RayTask[Any]]) -> RayTask[Any] | None:  # Any: of whatever work
    """The task of a batch that was running when last heard of; None if none has started."""
    return next((task for task in reversed(batch) if task.started is not None), None)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
