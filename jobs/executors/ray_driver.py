"""Run the tasks on Ray: the driver's loop.

The driver owns retries and deadlines; Ray's own are off. Its out-of-memory retries never end, it
has no task timeout, it waits for ever for a demand that no node can meet, and a call to a node
that was cut off may never return. So nothing here waits longer than it says, and a task that went
quiet is left behind and started elsewhere; running twice gives the same rows.
"""

from __future__ import annotations

import contextlib
import math
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
    WorkerCrashedError,
)

from jobs.executors.progress import Progress
from jobs.executors.ray_session import RayOptions, joined_cluster, outside, pinned_to
from jobs.executors.ray_worker import COORDINATOR_TIMEOUT_S, Coordinator, measure_on_node
from jobs.planning.memory import gpu_memory_bytes
from jobs.tasks.measure_one import deadline_s
from jobs.tasks.outcome import Failed, Outcome, infeasible
from survey.hub.api import stored_token
from survey.records.settings import Settings
from survey.records.target import Target

TRIES = 3  # of one target, where workers or nodes die under it
GRACE_S = 30.0  # beyond the task's own deadline, before the driver ends its worker
FETCH_S = 30.0  # for a result that is ready: from outside, some MB over whatever link there is
POLL_S = 0.25  # how often the driver looks at deadlines and progress
NODES_POLL_S = 3.0  # how often it looks at the nodes
# A task waits for the wire half of its time or more; a small model's takes less than its bookkeeping.
CPU_SHARE = 0.5
LARGE_BYTES = 32 << 20
# Ray does not tell how much memory a GPU has; the smallest in use for such work have 16 GB.
GPU_BYTES = 16e9


@dataclass(slots=True)
class _Task:
    target: Target
    memory_bytes: int
    tries: int = 1
    was_out_of_memory: bool = False
    gpu_share: float = 0.0
    cpu_share: float = 1.0
    launched: float = field(default_factory=time.monotonic)
    started: float | None = None  # when its worker said so; it may wait for memory until then


@dataclass(frozen=True, slots=True)
class _Cluster:
    """What the living nodes have, all together, and the memory of the largest.

    gpu_cpus: of the nodes with GPUs; a task there takes one of them, too.
    """

    cpus: float
    gpus: float
    gpu_cpus: float
    node_memory_bytes: float
    nodes: dict[str, dict[str, float]]  # resources of each, by id


def run_on_ray(
    targets: Sequence[Target], settings: Settings, progress: Progress, options: RayOptions
) -> Iterator[tuple[Outcome, int]]:
    """Yield each target's outcome and the number of tries, as they end.

    Raises UsageError where the cluster cannot be joined.
    """
    # Ray prints what its raylet says, whatever it is told; stdout is for results.
    with contextlib.redirect_stdout(sys.stderr), joined_cluster(options):
        yield from _Driver(settings, progress, options).run(targets)


class _Driver:
    """The tasks in flight, as many as the cluster's CPUs can feed."""

    def __init__(self, settings: Settings, progress: Progress, options: RayOptions) -> None:
        # The nodes do not have the token that a person logged in with here.
        self._settings = replace(settings, token=stored_token(settings))
        self._progress = progress
        self._connections = options.connections
        self._outside = outside()
        self._here = ray.get_runtime_context().get_node_id()  # from outside: the cluster's head
        self._running: dict[Any, _Task] = {}  # Any: a ray.ObjectRef, which is untyped
        self._most = 1  # tasks at once that need connections, by the number of targets
        self._least_share = 1.0
        self._nodes_of: dict[Any, str] = {}
        self._lost: dict[str, float] = {}  # node -> since when it is missed
        self._deaf = False  # the desk is out of reach: nobody hears of tasks that start
        self._commit_to = options.commit_to
        # Beside the driver, so that no other node's death takes it away.
        self._desk = Coordinator.options(scheduling_strategy=pinned_to(self._here)).remote()  # type: ignore[attr-defined]
        # Declared once: each declaration is sent to every worker that runs it.
        self._on_cpu = ray.remote(max_retries=0)(measure_on_node)
        # On a GPU used once: a process that measured keeps its CUDA context.
        self._on_gpu = ray.remote(max_retries=0, max_calls=1)(measure_on_node)
        self._cluster = _look()
        self._looked = self._heard = time.monotonic()

    def run(self, targets: Sequence[Target]) -> Iterator[tuple[Outcome, int]]:
        fetched = [target for target in targets if target.folder is None]
        self._most = max(1, len(fetched))
        self._least_share = min(map(self._cpu_share, fetched), default=1.0)
        waiting: deque[_Task] = deque()
        waiting.extend(_Task(target, target.memory_bytes) for target in targets)
        while waiting or self._running:
            while waiting:
                # Asked each time: the only node that could run it may have died.
                refused = self._refusal(waiting[0].target)
                if refused is None and not self._launch(waiting[0]):
                    break
                task = waiting.popleft()
                if refused is not None:
                    self._progress.finished(task.target.key)
                    yield refused, task.tries
            for ref, ready in self._ended().items():
                task = self._running.pop(ref)
                outcome, again = self._outcome(ref, task) if ready else self._given_up(ref, task)
                self._progress.finished(task.target.key, again=again is not None)
                if again is not None:
                    waiting.append(again)
                else:
                    yield outcome, task.tries

    # ------------------------------------------------------------------------------ launching

    def _refusal(self, target: Target) -> Failed | None:
        """Why a target can never run here, if so."""
        if target.folder is not None and self._outside:
            problem = "the folder is on this machine, which is no node of the cluster"
            return _failed(target, "not-on-cluster", problem)
        # Only the driver's machine is sure to see a folder, so it must be able to measure it.
        here = self._cluster.nodes.get(self._here, {}) if target.folder else None
        memory_bytes = self._cluster.node_memory_bytes if here is None else here.get("memory", 0.0)
        if target.memory_bytes > memory_bytes:
            where = "the largest node" if here is None else "the driver's node"
            return infeasible(target, memory_bytes, where)
        if here is not None and here.get("CPU", 0.0) < 1:
            problem = "only the driver's node sees the folder, and it has no CPU for tasks"
            return _failed(target, "infeasible", problem)
        if self._settings.device == "cuda" and self._cluster.gpu_cpus < 1:
            return _failed(target, "infeasible", "no node has a GPU, and a CPU for tasks beside it")
        return None

    def _launch(self, task: _Task) -> bool:
        """Start a task where there is room; whether it was started."""
        running = self._running.values()
        share = self._gpu_share(task.target)
        in_use = [other.gpu_share for other in running if other.gpu_share]
        # What waited for a CPU beside a GPU would leave the other nodes idle.
        fits = sum(in_use) + share <= self._cluster.gpus + 1e-9 and len(in_use) < self._cluster.gpu_cpus
        task.gpu_share = share if fits else 0.0
        if task.gpu_share == 0.0 and self._settings.device == "cuda":
            return False
        task.cpu_share = 1.0 if task.gpu_share else self._cpu_share(task.target)
        if running and sum(other.cpu_share for other in running) + task.cpu_share > self._room(task):
            return False
        if self._connections is not None and len(running) >= self._connections:
            return False
        options: dict[str, Any] = {"memory": task.memory_bytes, "num_cpus": task.cpu_share, "name": "measure"}
        if task.target.folder is not None:
            options["scheduling_strategy"] = pinned_to(self._here)
        if task.gpu_share:
            options["num_gpus"] = task.gpu_share
        declared = self._on_gpu if task.gpu_share else self._on_cpu
        settings = self._settings
        if self._connections is not None:
            share_of_all = self._connections // self._slots()
            settings = replace(settings, connections=min(settings.connections, share_of_all))
        if task.tries > 1:
            self._desk.forget.remote(task.target.key)
        ref = declared.options(**options).remote(task.target, settings, self._desk, self._commit_to)
        task.launched = time.monotonic()
        self._running[ref] = task
        self._progress.started(task.target)
        return True

    def _room(self, task: _Task) -> float:
        """CPUs for tasks that run, and for small ones as many for the next: while the driver is busy with one
        that has ended, they wait at Ray. Not where they would wait for a CPU beside a GPU."""
        queued = not (_is_large(task.target) or self._gpu_share(task.target) or self._connections)
        return self._cluster.cpus * (2 if queued else 1)

    def _slots(self) -> int:
        """How many tasks may run at once, where connections are to be shared out: each has one at least."""
        assert self._connections is not None
        return min(max(1, int(self._cluster.cpus / self._least_share)), self._most, self._connections)

    def _cpu_share(self, target: Target) -> float:
        """The share of a CPU that a target needs; where it may get a GPU, a whole one to feed it."""
        waits = target.folder is None and _is_large(target) and not self._gpu_share(target)
        return CPU_SHARE if waits else 1.0

    def _gpu_share(self, target: Target) -> float:
        """The share of one GPU that a target needs, in hundredths; 0 where none is wanted."""
        if self._cluster.gpus <= 0 or self._settings.device not in ("auto", "cuda"):
            return 0.0
        return min(1.0, math.ceil(100 * gpu_memory_bytes(target.spec) / GPU_BYTES) / 100)

    # -------------------------------------------------------------------------------- waiting

    def _ended(self) -> dict[Any, bool]:
        """Tasks that are done (True), late, or on a node that is gone (False)."""
        ready: list[Any] = []  # Any: as above
        if self._running:
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=POLL_S)
        else:  # nothing fits anywhere just now
            time.sleep(POLL_S)
        now = time.monotonic()
        if now - self._looked > NODES_POLL_S:
            self._cluster, self._looked = _look(), now
        if now - self._heard > POLL_S or not ready:
            self._hear_reports()
            self._heard = now
        missing = self._missing(now)
        given_up = {
            ref: False
            for ref, task in self._running.items()
            if self._ran_s(task, now) > self._limit_s(task)
            or self._nodes_of.get(ref) in missing
            or (task.started is None and self._refusal(task.target) is not None)
        }
        return given_up | dict.fromkeys(ready, True)

    def _ran_s(self, task: _Task, now: float) -> float:
        since = task.launched if self._deaf else task.started
        return 0.0 if since is None else now - since

    def _hear_reports(self) -> None:
        try:
            counts, nodes = ray.get(self._desk.take.remote(), timeout=COORDINATOR_TIMEOUT_S)
        except RayError:
            self._deaf = True  # outcomes come another way
            return
        self._deaf = False
        for key, count in counts.items():
            self._progress.advanced(key, count)
        for ref, task in self._running.items():
            if task.target.key in nodes and task.started is None:
                self._nodes_of[ref] = nodes[task.target.key]
                task.started = time.monotonic()

    def _missing(self, now: float) -> set[str]:
        """Nodes that a task was on and that have been dead for a while; Ray itself may never say so."""
        for node in set(self._nodes_of.values()):
            if node in self._cluster.nodes:
                self._lost.pop(node, None)
            else:
                self._lost.setdefault(node, now)
        return {node for node, since in self._lost.items() if now - since > 2 * NODES_POLL_S}

    def _limit_s(self, task: _Task) -> float:
        return deadline_s(task.target, self._settings) + GRACE_S

    # ------------------------------------------------------------------------------- outcomes

    def _outcome(self, ref: Any, task: _Task) -> tuple[Outcome, _Task | None]:
        """What came of a task that ended, or the task to try again."""
        self._nodes_of.pop(ref, None)
        again = _again(task)
        try:
            outcome: Outcome = ray.get(ref, timeout=FETCH_S)
            return outcome, None
        except GetTimeoutError:
            reason, message = "node-lost", "it ended, and its node is out of reach"
        except OutOfMemoryError as error:
            reason, message = "out-of-memory", _first_line(error)
            again = replace(again, memory_bytes=2 * task.memory_bytes, was_out_of_memory=True)
            if task.was_out_of_memory or again.memory_bytes > self._cluster.node_memory_bytes:
                return _failed(task.target, reason, message, task), None
        except RayTaskError as error:
            return _failed(task.target, "internal", str(error), task), None
        except WorkerCrashedError:
            reason, message = "node-lost", "its worker process died"
        except RayError as error:
            reason, message = "node-lost", _first_line(error)
        return _failed(task.target, reason, message, task), again if task.tries < TRIES else None

    def _given_up(self, ref: Any, task: _Task) -> tuple[Outcome, _Task | None]:
        """What to record of a task that went quiet, or the task to try elsewhere."""
        node = self._nodes_of.pop(ref, None)
        # Cancelling may hang where the node is cut off.
        threading.Thread(target=_cancel, args=(ref,), daemon=True).start()
        if task.started is None and (refused := self._refusal(task.target)):
            return refused, None
        if node not in self._lost:
            limit_s = deadline_s(task.target, self._settings)
            return _failed(task.target, "timeout", f"not finished after {limit_s:.0f} s", task), None
        lost = _failed(task.target, "node-lost", "its node is gone", task)
        return lost, _again(task) if task.tries < TRIES else None


def _is_large(target: Target) -> bool:
    return len(target.spec.bytes) >= LARGE_BYTES


def _again(task: _Task) -> _Task:
    return replace(task, tries=task.tries + 1, started=None)


def _look() -> _Cluster:
    alive = [node for node in ray.nodes() if node["Alive"]]
    resources = [node["Resources"] for node in alive]
    return _Cluster(
        cpus=sum(item.get("CPU", 0.0) for item in resources),
        gpus=sum(item.get("GPU", 0.0) for item in resources),
        gpu_cpus=sum(item.get("CPU", 0.0) for item in resources if item.get("GPU", 0.0) > 0),
        node_memory_bytes=max((item.get("memory", 0.0) for item in resources), default=0.0),
        nodes={node["NodeID"]: node["Resources"] for node in alive},
    )


def _cancel(ref: Any) -> None:
    with contextlib.suppress(RayError):
        ray.cancel(ref, force=True)


def _failed(target: Target, reason: str, problem: str, task: _Task | None = None) -> Failed:
    elapsed_s = time.monotonic() - (task.started or task.launched) if task else 0.0
    return Failed(target, reason, f"{target.identity.repo}: {problem}", elapsed_s=elapsed_s)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
