"""What a model's task gets of a Ray cluster: shares of CPUs and GPUs, devices, connections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from jobs.executors.ray_nodes import auto_device_on, possible_nodes, spectra_device_on
from jobs.executors.ray_resources import ClusterResources
from jobs.executors.ray_work import ModelWork
from jobs.planning.memory import gpu_host_bytes, local_bytes, task_gpu_bytes
from survey.onepass.device import REQUESTED, Device
from survey.records.settings import Settings, SpectraDevice
from survey.records.target import Target

# A large matrix's task waits for the network at least half of its time.
CPU_SHARE = 0.5
LARGE_BYTES = 32 << 20
# Ray does not say how much memory a GPU has; the smallest in use for such work have 16 GB.
GPU_BYTES = 16e9
GPUS_TAKEN = "the GPUs were taken"


class TaskShares:
    """The shares of a run's tasks. here: the driver's node. connections: those that all tasks share."""

    def __init__(
        self,
        targets: Sequence[Target],
        settings: Settings,
        here: str,
        connections: int | None,
        cluster: ClusterResources,
    ) -> None:
        self._settings, self._here, self._connections = settings, here, connections
        self._local_bytes = local_bytes(targets)
        remote = [target for target in targets if target.folder is None]
        self._remote_targets = max(1, len(remote))
        works = (ModelWork(target, target.memory_bytes) for target in remote)
        self._least_cpu_share = min((self._cpu_share(work, cluster) for work in works), default=1.0)

    def assign(self, work: ModelWork, running: Sequence[ModelWork], cluster: ClusterResources) -> bool:
        """Set the shares of CPU and GPU that a task gets beside those that run; False if it must wait."""
        share = self.gpu_share(work, cluster)
        in_use = [other.gpu_share for other in running if other.gpu_share]
        # A task that waited for a CPU beside a GPU would leave the other nodes idle.
        fits = sum(in_use) + share <= cluster.gpus + 1e-9 and len(in_use) < cluster.gpu_cpus
        work.gpu_share = share if fits else 0.0
        if work.gpu_share == 0.0 and (
            self._settings.device == "cuda" or (running and self._waits_for_gpu(work, cluster))
        ):
            return False
        work.cpu_share = 1.0 if work.gpu_share else self._cpu_share(work, cluster)
        cpus_in_use = sum(other.cpu_share for other in running)
        return not running or cpus_in_use + work.cpu_share <= self._cpu_limit(work, cluster)

    def _cpu_limit(self, work: ModelWork, cluster: ClusterResources) -> float:
        """The CPUs that tasks may claim together.

        Twice what there is: the next ones wait at Ray, and start while the driver handles one that has
        ended. Not if they share a CPU anyway, a GPU, or a limit of connections.
        """
        may_queue = not (_waits(work.target) or self.gpu_share(work, cluster) or self._connections)
        return cluster.cpus * (2 if may_queue else 1)

    def settings_of(self, work: ModelWork, cluster: ClusterResources) -> Settings:
        """The settings with a task's device, and its part of the connections that all tasks share."""
        chosen = self._device(work, cluster)
        if chosen.name == "cuda" and not work.gpu_share:
            chosen = Device("cpu", GPUS_TAKEN)
        spectra = self._spectra(work, cluster)
        if _is_cuda(spectra) and not work.gpu_share:
            spectra = self._spectra(work, cluster, gpus_taken=True)
        settings = replace(self._settings, device=chosen.name, device_reason=chosen.reason, spectra=spectra)
        if self._connections is None:
            return settings
        tasks_at_once = max(1, int(cluster.cpus / self._least_cpu_share))
        # Each task has one connection at least.
        tasks_at_once = min(tasks_at_once, self._remote_targets, self._connections)
        part = self._connections // tasks_at_once
        return replace(settings, connections=min(settings.connections, part))

    def _cpu_share(self, work: ModelWork, cluster: ClusterResources) -> float:
        """The share of a CPU that a target needs: a whole one to feed a GPU that it may get."""
        return CPU_SHARE if _waits(work.target) and not self.gpu_share(work, cluster) else 1.0

    def gpu_share(self, work: ModelWork, cluster: ClusterResources) -> float:
        """The share of one GPU that a target needs, in hundredths; 0 if it is to have none."""
        passes = self._device(work, cluster).name == "cuda"
        multiplies = _is_cuda(self._spectra(work, cluster))
        if not (passes or multiplies) or cluster.gpus <= 0:
            return 0.0
        needed = task_gpu_bytes(work.target.spec, passes=passes, multiplies=multiplies)
        return min(1.0, math.ceil(100 * needed / GPU_BYTES) / 100)

    def _spectra(
        self, work: ModelWork, cluster: ClusterResources, *, gpus_taken: bool = False
    ) -> SpectraDevice | None:
        """The device for a target's spectrum, if it is free, or why there is none."""
        nodes, settings = possible_nodes(work.target, cluster.nodes, self._here), self._settings
        if gpus_taken and settings.device == "auto":
            settings = replace(settings, device="cpu")
        memory_bytes = work.memory_bytes
        if self._settings.device == "auto" and self._device(work, cluster).name == "cuda":
            memory_bytes += gpu_host_bytes(work.target.spec)
        chosen = spectra_device_on(nodes, work.target, settings, memory_bytes)
        if chosen is not None and work.was_out_of_memory and not work.target.only_spectrum:
            return SpectraDevice(None, "a first try with it took more memory than it may")
        return chosen or (SpectraDevice(None, GPUS_TAKEN) if gpus_taken else None)

    def _waits_for_gpu(self, work: ModelWork, cluster: ClusterResources) -> bool:
        """Whether a spectrum waits for a GPU: `auto` knows no other device, and no CPU is apart from GPUs."""
        is_only = self._settings.spectrum == "auto" and cluster.gpu_cpus >= cluster.cpus
        return is_only and _is_cuda(self._spectra(work, cluster))

    def _device(self, work: ModelWork, cluster: ClusterResources) -> Device:
        """The device for a target, if it is free, and why."""
        if self._settings.device != "auto":
            return Device(self._settings.device, REQUESTED)
        nodes = possible_nodes(work.target, cluster.nodes, self._here)
        return auto_device_on(nodes, work.target, work.memory_bytes, self._local_bytes)


def _is_cuda(spectra: SpectraDevice | None) -> bool:
    return spectra is not None and spectra.name == "cuda"


def _waits(target: Target) -> bool:
    """Whether its task waits for the network half of its time."""
    return target.folder is None and len(target.spec.bytes) >= LARGE_BYTES
