"""Train a sweep's runs on Ray: a task of one CPU for each.

A training may take any time, so it has no deadline; the loop watches the node that it is on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from jobs.executors.progress import Silence, TaskName
from jobs.executors.ray_loop import RayLoop
from jobs.executors.ray_resources import ClusterResources
from jobs.executors.ray_session import RayOptions, coordinated_cluster
from jobs.executors.ray_workload import RayTask
from jobs.single_results.sweep import SweepFailure, SweepOutcome, attempt
from survey.dynamics.config import Training


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """A run, and the file of its history if it keeps one."""

    run: Training
    history: Path | None


def train_on_node(
    run: Training,
    history: Path | None,
    name: TaskName,
    tries: int,
    coordinator: Any,  # Any: an actor's handle is untyped
) -> SweepOutcome:
    """The task. It sets torch's threads itself: Ray sets OMP_NUM_THREADS once, and workers are reused."""
    import torch

    coordinator.started.remote(name, tries, ray.get_runtime_context().get_node_id())
    torch.set_num_threads(1)
    return attempt(run, history)


def execute_on_ray(
    todo: Sequence[tuple[Training, Path | None]], options: RayOptions
) -> Iterator[tuple[Training, SweepOutcome]]:
    """Yield each run's outcome, as they end. Raises UsageError if the cluster cannot be joined."""
    if not todo:
        return
    with coordinated_cluster(options) as coordinator:
        loop = RayLoop(SweepWorkload(coordinator), coordinator, Silence())
        for task, outcome in loop.run((_name(run), TrainingWork(run, history)) for run, history in todo):
            yield task.work.run, outcome


class SweepWorkload:
    """Training runs: their launch and their failures."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._declared = ray.remote(num_cpus=1, max_retries=0)(train_on_node)

    def refusal(self, work: TrainingWork, cluster: ClusterResources) -> SweepOutcome | None:
        return None

    def batch_size(self, waiting: Sequence[RayTask[TrainingWork]], cluster: ClusterResources) -> int:
        return 1

    def launch_batch(
        self,
        batch: Sequence[RayTask[TrainingWork]],
        running: Sequence[TrainingWork],
        cluster: ClusterResources,
    ) -> Any:  # Any: as below
        raise AssertionError("each training is a task of its own")

    def launch(
        self, task: RayTask[TrainingWork], running: Sequence[TrainingWork], cluster: ClusterResources
    ) -> Any:  # Any: a ray.ObjectRef is untyped
        # No more tasks than the cluster runs at once: a queue of thousands would fill Ray's memory.
        if len(running) >= max(1, int(cluster.cpus)):
            return None
        work = task.work
        return self._declared.options(name="train").remote(
            work.run, work.history, task.name, task.tries, self._coordinator
        )

    def deadline_s(self, work: TrainingWork) -> float:
        return math.inf

    def with_more_memory(self, work: TrainingWork, cluster: ClusterResources) -> TrainingWork:
        return work  # a run reserves no memory: tasks beside it may have taken too much

    def failure(self, task: RayTask[TrainingWork], reason: str, problem: str) -> SweepOutcome:
        if reason != "internal":
            problem = f"its worker was lost {task.tries} times: {problem}"
        return SweepFailure(task.work.run, problem)


def _name(run: Training) -> TaskName:
    return (run.digest(),)
