"""Measure models on Ray: a task for each, as many at once as CPUs, GPUs, memory and connections allow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import ray

from jobs.executors.progress import Progress
from jobs.executors.ray_loop import RayLoop
from jobs.executors.ray_nodes import Node, auto_device_on, largest_memory_bytes, possible_nodes, refusal_by
from jobs.executors.ray_resources import ClusterResources, cluster_resources
from jobs.executors.ray_session import RayOptions, coordinated_cluster, outside, pinned_to
from jobs.executors.ray_watch import MAX_WORKERS
from jobs.executors.ray_work import ModelWork as ModelWork
from jobs.executors.ray_work import batch_memory_bytes, batch_size
from jobs.executors.ray_worker import measure_in_turn_on_node, measure_on_node, warm_up_worker
from jobs.executors.ray_workload import RayTask
from jobs.planning.memory import gpu_host_bytes, gpu_memory_bytes, local_bytes
from jobs.tasks.measure_one import deadline_s
from jobs.tasks.outcome import Failed, Outcome
from survey.hub.repositories import stored_token
from survey.onepass.device import REQUESTED, Device
from survey.records.settings import Settings
from survey.records.target import Target

# A large matrix's task waits for the network at least half of its time.
CPU_SHARE = 0.5
LARGE_BYTES = 32 << 20
WARM_UP_S = 120.0  # to compile the kernels; whoever is not ready by then does it in its first task
# Ray does not say how much memory a GPU has; the smallest in use for such work have 16 GB.
GPU_BYTES = 16e9


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
        ray.wait(loading, num_returns=workers, timeout=WARM_UP_S)


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
        self._local_bytes = local_bytes(targets)
        remote = [target for target in targets if target.folder is None]
        self._remote_targets = max(1, len(remote))
        cluster = cluster_resources()
        works = (ModelWork(target, target.memory_bytes) for target in remote)
        self._least_cpu_share = min((self._cpu_share(work, cluster) for work in works), default=1.0)
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
        if not self._assign_shares(work, running, cluster):
            return None
        if self._connections is not None and len(running) >= self._connections:
            return None
        declared = self._on_gpu if work.gpu_share else self._on_cpu
        ref = declared.options(**self._reserved(work)).remote(
            work.target, task.tries, self._settings_of_task(work, cluster), self._coordinator, self._commit_to
        )
        self._progress.started(work.target)
        return ref

    def batch_size(self, waiting: Sequence[RayTask[ModelWork]], cluster: ClusterResources) -> int:
        if self._connections is not None or self._gpu_share(waiting[0].work, cluster):
            return 1  # a second one's first bytes would take a share of what one may have
        return batch_size(waiting, cluster.cpus)

    def launch_batch(
        self, batch: Sequence[RayTask[ModelWork]], running: Sequence[ModelWork], cluster: ClusterResources
    ) -> Any:  # Any: as above
        work = batch[0].work
        if not self._assign_shares(work, running, cluster):
            return None
        largest = largest_memory_bytes(self._nodes(work.target, cluster))
        memory_bytes = min(batch_memory_bytes(batch), int(largest))
        return self._in_turn.options(**self._reserved(work) | {"memory": memory_bytes}).remote(
            [(task.work.target, task.tries) for task in batch],
            self._settings_of_task(work, cluster),
            self._coordinator,
            self._commit_to,
        )

    def _reserved(self, work: ModelWork) -> dict[str, Any]:  # Any: Ray's options
        """What Ray sets aside for a task, and where it runs."""
        memory_bytes = work.memory_bytes
        if work.gpu_share and self._settings.device == "auto":  # the plan did not know of a GPU
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

    # ------------------------------------------------------------------------------ shares

    def _assign_shares(
        self, work: ModelWork, running: Sequence[ModelWork], cluster: ClusterResources
    ) -> bool:
        """Set the shares of CPU and GPU that a task gets beside those that run; False if it must wait."""
        share = self._gpu_share(work, cluster)
        in_use = [other.gpu_share for other in running if other.gpu_share]
        # A task that waited for a CPU beside a GPU would leave the other nodes idle.
        fits = sum(in_use) + share <= cluster.gpus + 1e-9 and len(in_use) < cluster.gpu_cpus
        work.gpu_share = share if fits else 0.0
        if work.gpu_share == 0.0 and self._settings.device == "cuda":
            return False
        work.cpu_share = 1.0 if work.gpu_share else self._cpu_share(work, cluster)
        cpus_in_use = sum(other.cpu_share for other in running)
        return not running or cpus_in_use + work.cpu_share <= self._cpu_limit(work, cluster)

    def _cpu_limit(self, work: ModelWork, cluster: ClusterResources) -> float:
        """The CPUs that tasks may claim together.

        Twice what there is: the next ones wait at Ray, and start while the driver handles one that has
        ended. Not if they share a CPU anyway, a GPU, or a limit of connections.
        """
        may_queue = not (_waits(work.target) or self._gpu_share(work, cluster) or self._connections)
        return cluster.cpus * (2 if may_queue else 1)

    def _settings_of_task(self, work: ModelWork, cluster: ClusterResources) -> Settings:
        """The settings with a task's device, and its part of the connections that all tasks share."""
        chosen = self._device(work, cluster)
        if chosen.name == "cuda" and not work.gpu_share:
            chosen = Device("cpu", "the GPUs were taken")
        settings = replace(self._settings, device=chosen.name, device_reason=chosen.reason)
        if self._connections is None:
            return settings
        tasks_at_once = max(1, int(cluster.cpus / self._least_cpu_share))
        # Each task has one connection at least.
        tasks_at_once = min(tasks_at_once, self._remote_targets, self._connections)
        part = self._connections // tasks_at_once
        return replace(settings, connections=min(settings.connections, part))

    def _cpu_share(self, work: ModelWork, cluster: ClusterResources) -> float:
        """The share of a CPU that a target needs: a whole one to feed a GPU that it may get."""
        return CPU_SHARE if _waits(work.target) and not self._gpu_share(work, cluster) else 1.0

    def _gpu_share(self, work: ModelWork, cluster: ClusterResources) -> float:
        """The share of one GPU that a target needs, in hundredths; 0 if it is to have none."""
        if self._device(work, cluster).name != "cuda" or cluster.gpus <= 0:
            return 0.0
        return min(1.0, math.ceil(100 * gpu_memory_bytes(work.target.spec) / GPU_BYTES) / 100)

    def _device(self, work: ModelWork, cluster: ClusterResources) -> Device:
        """The device for a target, if it is free, and why."""
        if self._settings.device != "auto":
            return Device(self._settings.device, REQUESTED)
        nodes = self._nodes(work.target, cluster)
        return auto_device_on(nodes, work.target, work.memory_bytes, self._local_bytes)


def _waits(target: Target) -> bool:
    """Whether its task waits for the network half of its time."""
    return target.folder is None and len(target.spec.bytes) >= LARGE_BYTES


def _refused(target: Target, reason: str, problem: str) -> Failed:
    return Failed(target, reason, f"{target.identity.repo}: {problem}")
