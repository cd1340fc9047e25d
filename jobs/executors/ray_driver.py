"""Measure models on Ray: a task for each, as many at once as CPUs, GPUs, memory and connections allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import ray

from jobs.executors.progress import Progress
from jobs.executors.ray_loop import RayLoop
from jobs.executors.ray_nodes import (
    Node,
    largest_memory_bytes,
    possible_nodes,
    refusal_by,
)
from jobs.executors.ray_resources import ClusterResources, cluster_resources
from jobs.executors.ray_session import RayOptions, coordinated_cluster, outside, pinned_to
from jobs.executors.ray_shares import TaskShares
from jobs.executors.ray_watch import MAX_WORKERS
from jobs.executors.ray_work import ModelWork as ModelWork
from jobs.executors.ray_work import batch_memory_bytes, batch_size
from jobs.executors.ray_worker import measure_in_turn_on_node, measure_on_node, warm_up_worker
from jobs.executors.ray_workload import RayTask
from jobs.planning.memory import gpu_host_bytes, spectrum_host_bytes
from jobs.tasks.measure_one import deadline_s
from jobs.tasks.outcome import Failed, Outcome
from survey.hub.repositories import stored_token
from survey.records.settings import Settings
from survey.records.target import Target

KERNELS_LOADED_S = 120.0  # to compile the kernels; whoever is not ready by then does it in its first task


def run_on_ray(
    targets: Sequence[Target], settings: Settings, progress: Progress, options: RayOptions
) -> Iterator[tuple[Outcome, int]]:
    """Yield each target's outcome and the number of tries, as they end.

    Raises UsageError if the cluster cannot be joined.
    """
    with coordinated_cluster(options) as coordinator:
        workload = ModelWorkload(targets, settings, progress, options, coordinator)
        _warm_up_workers(targets)
        works = [(target.key, ModelWork(target, target.memory_bytes)) for target in targets]
        for task, outcome in RayLoop(workload, coordinator, progress).run(works):
            yield outcome, task.tries


def _warm_up_workers(targets: Sequence[Target]) -> None:
    """Load the kernels where folders are measured, before any of them is.

    A run with targets on the Hub does without: their first bytes come meanwhile.
    """
    if outside() or any(target.folder is None for target in targets):
        return
    here = ray.get_runtime_context().get_node_id()
    workers = min(int(cluster_resources().nodes.get(here, {}).get("CPU", 0)), len(targets), MAX_WORKERS)
    task = ray.remote(num_cpus=1, max_retries=0)(warm_up_worker)
    loading = [task.options(scheduling_strategy=pinned_to(here)).remote() for _ in range(workers)]
    if loading:
        ray.wait(loading, num_returns=workers, timeout=KERNELS_LOADED_S)


class ModelWorkload:
    """Models to measure: their launch, their resources, and their failures."""

    def __init__(
        self,
        targets: Sequence[Target],
        settings: Settings,
        progress: Progress,
        options: RayOptions,
        coordinator: Any,  # Any: an actor's handle is untyped
    ) -> None:
        # The nodes do not have the token that a person logged in with here.
        self._settings = replace(settings, token=stored_token(settings))
        self._progress, self._coordinator = progress, coordinator
        self._connections, self._commit_to = options.connections, options.commit_to
        self._is_outside = outside()
        self._here = ray.get_runtime_context().get_node_id()  # from outside: the cluster's head
        cluster = cluster_resources()
        self._shares = TaskShares(targets, self._settings, self._here, self._connections, cluster)
        # Declared once: each declaration is sent to every worker that runs it.
        self._on_cpu = ray.remote(max_retries=0)(measure_on_node)
        self._in_turn = ray.remote(max_retries=0)(measure_in_turn_on_node)
        # A GPU's process measures many models (Ray's own default is one): torch and CUDA take 5 s to start.
        # Not if a node has several GPUs: CUDA stays with the first that its process had.
        max_calls = 1 if any(node.get("GPU", 0.0) > 1 for node in cluster.nodes.values()) else 0
        self._on_gpu = ray.remote(max_retries=0, max_calls=max_calls)(measure_on_node)

    def refusal(self, work: ModelWork, cluster: ClusterResources) -> Failed | None:
        """The failure of a target that no living node can measure; None if one can."""
        target = work.target
        if target.folder is not None and self._is_outside:
            return _refused(
                target, "not-on-cluster", "the folder is on this machine, which is no node of the cluster"
            )
        return refusal_by(self._nodes(target, cluster), target, self._settings.device)

    def launch(
        self, task: RayTask[ModelWork], running: Sequence[ModelWork], cluster: ClusterResources
    ) -> Any:  # Any: a ray.ObjectRef is untyped
        work = task.work
        if not self._shares.assign(work, running, cluster):
            return None
        if self._connections is not None and len(running) >= self._connections:
            return None
        declared = self._on_gpu if work.gpu_share else self._on_cpu
        settings = self._shares.settings_of(work, cluster)
        ref = declared.options(**self._reserved(work, settings)).remote(
            work.target, task.tries, settings, self._coordinator, self._commit_to
        )
        self._progress.started(work.target)
        return ref

    def batch_size(self, waiting: Sequence[RayTask[ModelWork]], cluster: ClusterResources) -> int:
        if self._connections is not None or self._shares.gpu_share(waiting[0].work, cluster):
            return 1  # a second one's first bytes would take a share of what one may have
        return batch_size(waiting, cluster.cpus)

    def launch_batch(
        self, batch: Sequence[RayTask[ModelWork]], running: Sequence[ModelWork], cluster: ClusterResources
    ) -> Any:  # Any: as above
        work = batch[0].work
        if not self._shares.assign(work, running, cluster):
            return None
        largest = largest_memory_bytes(self._nodes(work.target, cluster))
        settings = self._shares.settings_of(work, cluster)
        spectrum = max(spectrum_host_bytes(task.work.target, settings.spectra) for task in batch)
        memory_bytes = min(batch_memory_bytes(batch) + spectrum, int(largest))
        return self._in_turn.options(**self._reserved(work, settings) | {"memory": memory_bytes}).remote(
            [(task.work.target, task.tries) for task in batch],
            settings,
            self._coordinator,
            self._commit_to,
        )

    def _reserved(self, work: ModelWork, settings: Settings) -> dict[str, Any]:  # Any: Ray's options
        """What Ray sets aside for a task with these settings, and where it runs."""
        memory_bytes = work.memory_bytes + spectrum_host_bytes(work.target, settings.spectra)
        if settings.device == "cuda" and self._settings.device == "auto":  # the plan did not know of a GPU
            memory_bytes += gpu_host_bytes(work.target.spec)
        options: dict[str, Any] = {"memory": memory_bytes, "num_cpus": work.cpu_share, "name": "measure"}
        if work.target.folder is not None:
            options["scheduling_strategy"] = pinned_to(self._here)
        if work.gpu_share:
            options["num_gpus"] = work.gpu_share
        return options

    def deadline_s(self, work: ModelWork) -> float:
        return deadline_s(work.target, self._settings)

    def with_more_memory(self, work: ModelWork, cluster: ClusterResources) -> ModelWork | None:
        """The same target with twice the memory; None if no node has it, or it had that already."""
        twice = 2 * work.memory_bytes
        if work.was_out_of_memory or twice > largest_memory_bytes(self._nodes(work.target, cluster)):
            return None
        return ModelWork(work.target, twice, was_out_of_memory=True)

    def failure(self, task: RayTask[ModelWork], reason: str, problem: str) -> Failed:
        return replace(_refused(task.work.target, reason, problem), elapsed_s=task.elapsed_s())

    def _nodes(self, target: Target, cluster: ClusterResources) -> list[Node]:
        return possible_nodes(target, cluster.nodes, self._here)


def _refused(target: Target, reason: str, problem: str) -> Failed:
    return Failed(target, reason, f"{target.identity.repo}: {problem}")
