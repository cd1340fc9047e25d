"""The work of Ray's tasks as the loop over them sees it: models to measure, or training runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from jobs.executors.progress import TaskName
from jobs.executors.ray_resources import ClusterResources

Work = TypeVar("Work")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(slots=True)
class RayTask(Generic[Work]):
    """One try of a task. Until its worker reports, node and started are None: it may still wait at Ray."""

    name: TaskName
    work: Work
    tries: int = 1
    launched: float = field(default_factory=time.monotonic)
    started: float | None = None
    node: str | None = None
    is_alone: bool = False  # it was in a batch that was lost: no other shall be lost with it

    def elapsed_s(self) -> float:
        return time.monotonic() - (self.started or self.launched)


class Workload(Protocol[Work, Result_co]):
    """Launches tasks of one kind, and turns their failures into results."""

    def refusal(self, work: Work, cluster: ClusterResources) -> Result_co | None:
        """The result of a task that no living node can run; None if one can."""

    def batch_size(self, waiting: Sequence[RayTask[Work]], cluster: ClusterResources) -> int:
        """How many of the first waiting tasks are to be launched as one, which does them in turn."""

    def launch(self, task: RayTask[Work], running: Sequence[Work], cluster: ClusterResources) -> Any:
        """Submit a task and return its ray.ObjectRef (untyped); None if it must wait for running ones."""

    def launch_batch(
        self, batch: Sequence[RayTask[Work]], running: Sequence[Work], cluster: ClusterResources
    ) -> Any:
        """The same for a batch, which returns the list of their results."""

    def deadline_s(self, work: Work) -> float:
        """Seconds that a try may take."""

    def with_more_memory(self, work: Work, cluster: ClusterResources) -> Work | None:
        """The next try of a task that ran out of memory; None if there is to be none."""

    def failure(self, task: RayTask[Work], reason: str, problem: str) -> Result_co:
        """The result of a task that failed for good."""
