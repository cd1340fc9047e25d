"""Run the tasks on Ray: an embedded one on this machine, or a cluster that is there.

The driver owns retries and deadlines; Ray's own are off. Its out-of-memory retries never end, it
has no task timeout, and it waits for ever for a demand that no node can meet.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.outcome import Failed, Outcome
from jobs.progress import Key, Progress
from jobs.task import measure_one
from survey.errors import UsageError
from survey.records import Settings, Target

TRIES = 3  # of one target, where workers die under it
GRACE_S = 60.0  # beyond the task's own deadline, before the driver ends its worker
LOOK_S = 0.25  # how often the driver looks at deadlines and progress
# Each process on a GPU holds a context (about 0.5 GB) and slabs of less than 1 GB.
GPU_SHARE = 0.25
OBJECT_STORE_BYTES = 512 << 20  # a result is a few MB and is fetched at once


@dataclass(frozen=True, slots=True)
class RayOptions:
    """address: a cluster, or None for an embedded Ray. ship_code: send our packages along."""

    address: str | None = None
    ship_code: bool = False


@dataclass(slots=True)
class _Task:
    target: Target
    tries: int
    memory_bytes: int
    started: float = field(default_factory=time.monotonic)


@ray.remote(num_cpus=0)
class _Reports:
    """Bytes that came, by target, until the driver fetches them."""

    def __init__(self) -> None:
        self._bytes: dict[Key, int] = {}

    def add(self, key: Key, count: int) -> None:
        self._bytes[key] = self._bytes.get(key, 0) + count

    def take(self) -> dict[Key, int]:
        taken, self._bytes = self._bytes, {}
        return taken


class _Meter:
    """Sums up what a task's connections bring and reports it now and then, if anybody watches."""

    def __init__(self, key: Key, reports: Any) -> None:  # Any: an actor's handle, or None
        self._key, self._reports = key, reports
        self._lock = threading.Lock()
        self._waiting, self._last = 0, time.monotonic()

    def add(self, count: int) -> None:
        if self._reports is None:
            return
        with self._lock:  # each connection calls from its own thread
            self._waiting += count
            if time.monotonic() - self._last > LOOK_S:
                self._reports.add.remote(self._key, self._waiting)
                self._waiting, self._last = 0, time.monotonic()


@ray.remote(num_cpus=1, max_retries=0)
def _measure(target: Target, settings: Settings, reports: Any) -> Outcome:  # Any: as in _Meter
    import torch

    # Workers are reused and Ray sets OMP_NUM_THREADS once: a task has one CPU and uses one.
    torch.set_num_threads(1)
    if settings.device == "auto":
        # num_gpus=0 does not hide GPUs: only Ray's assignment says whether one is ours.
        settings = replace(settings, device="cuda" if ray.get_gpu_ids() else "cpu")
    return measure_one(target, settings, _Meter(target.key, reports).add)


def run_on_ray(
    targets: Sequence[Target], settings: Settings, progress: Progress, options: RayOptions
) -> Iterator[tuple[Outcome, int]]:
    """Yield each target's outcome and the number of tries, as they end.

    Raises UsageError where the cluster cannot be joined.
    """
    # Ray prints what its raylet says, whatever it is told; stdout is for results.
    with contextlib.redirect_stdout(sys.stderr):
        _connect(options)
        try:
            yield from _Driver(settings, progress).run(targets)
        finally:
            ray.shutdown()


class _Driver:
    """The tasks in flight, never more than the cluster has CPUs for."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings, self._progress = settings, progress
        self._running: dict[Any, _Task] = {}  # Any: ray.ObjectRef is untyped
        self._reports = _Reports.remote() if progress.watched else None  # type: ignore[attr-defined]
        resources = ray.cluster_resources()
        # Only as many as can start at once: a deadline counts from the start of a task.
        self._slots = max(1, int(resources.get("CPU", 1)))
        gpus = settings.device != "cpu" and resources.get("GPU", 0) > 0
        self._gpu_share = GPU_SHARE if gpus else 0.0
        self._node_memory = max(node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"])

    def run(self, targets: Sequence[Target]) -> Iterator[tuple[Outcome, int]]:
        waiting = deque(_Task(target, 1, target.memory_bytes) for target in targets)
        while waiting or self._running:
            while waiting and len(self._running) < self._slots:
                task = waiting.popleft()
                if task.memory_bytes > self._node_memory:
                    yield self._infeasible(task), task.tries
                else:
                    self._launch(task)
            for ref in self._ended():
                task = self._running.pop(ref)
                self._progress.finished(task.target.key)
                outcome, again = self._outcome(ref, task)
                if again is not None:
                    waiting.append(again)
                else:
                    yield outcome, task.tries

    def _launch(self, task: _Task) -> None:
        options: dict[str, Any] = {"memory": task.memory_bytes, "name": "measure"}
        if self._gpu_share:
            options["num_gpus"] = self._gpu_share
        if task.target.folder is not None:
            # Only the driver's machine is sure to see the folder.
            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=False)
        ref = _measure.options(**options).remote(task.target, self._settings, self._reports)
        task.started = time.monotonic()
        self._running[ref] = task
        self._progress.started(task.target)

    def _ended(self) -> list[Any]:
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=LOOK_S)
        if self._reports is not None:
            with contextlib.suppress(GetTimeoutError):
                for key, count in ray.get(self._reports.take.remote(), timeout=5).items():
                    self._progress.advanced(key, count)
        limit_s = self._settings.timeout_s + GRACE_S
        late = [ref for ref, task in self._running.items() if time.monotonic() - task.started > limit_s]
        return list({*ready, *late})

    def _outcome(self, ref: Any, task: _Task) -> tuple[Outcome, _Task | None]:
        """What came of a task that ended or is late, or the task to try again."""
        try:
            outcome: Outcome = ray.get(ref, timeout=LOOK_S)
            return outcome, None
        except GetTimeoutError:
            ray.cancel(ref, force=True)
            limit_s = self._settings.timeout_s
            return self._failed(task, "timeout", f"not finished after {limit_s:.0f} s"), None
        except OutOfMemoryError as error:
            reason, message, memory = "out-of-memory", str(error), 2 * task.memory_bytes
        except (RayTaskError, TaskCancelledError) as error:
            return self._failed(task, "internal", str(error)), None
        except WorkerCrashedError:
            reason, message, memory = "node-lost", "its worker process died", task.memory_bytes
        except RayError as error:
            reason, message, memory = "node-lost", str(error), task.memory_bytes
        if task.tries >= TRIES or memory > self._node_memory:
            return self._failed(task, reason, message), None
        return self._failed(task, reason, message), _Task(task.target, task.tries + 1, memory)

    def _failed(self, task: _Task, reason: str, message: str) -> Failed:
        identity = task.target.identity
        elapsed_s = time.monotonic() - task.started
        return Failed(task.target, reason, f"{identity.repo}: {message}", elapsed_s=elapsed_s)

    def _infeasible(self, task: _Task) -> Failed:
        return self._failed(
            task,
            "infeasible",
            f"needs {task.memory_bytes / 1e9:.1f} GB of memory, "
            f"the largest node has {self._node_memory / 1e9:.1f} GB",
        )


def _connect(options: RayOptions) -> None:
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if options.ship_code:
        import catalog
        import jobs
        import survey

        common["runtime_env"] = {"py_modules": [survey, catalog, jobs]}
    if options.address is None:
        # "auto" would join anybody's cluster on this machine.
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **common,
        )
        return
    _refuse_silence(options.address)
    try:
        ray.init(address=options.address, **common)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"cannot join the Ray cluster at {options.address}: {error}. Is it running, and is "
            "RAY_AUTH_MODE=token set where it asks for a token?"
        ) from error


def _refuse_silence(address: str) -> None:
    """Ray waits for minutes at an address where nobody listens: ask for a second first."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise UsageError(f"cannot join the Ray cluster at {address}: {error}. Is it running?") from error
