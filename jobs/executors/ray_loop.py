"""Drive tasks on Ray: launch them, watch them, fetch their results, and start again what was lost.

The driver owns retries and deadlines; Ray's own are off. Ray's out-of-memory retries never end, it has no
task timeout, it waits for ever for resources that no node has, and a call to a node that was cut off may
never return. So every wait here has a limit, and a task that went quiet is abandoned and started on another
node: a task that runs twice gives the same rows.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic

import ray
from ray.exceptions import (
    GetTimeoutError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from jobs.executors.progress import Progress, TaskName
from jobs.executors.ray_resources import cluster_resources
from jobs.executors.ray_worker import COORDINATOR_TIMEOUT_S
from jobs.executors.ray_workload import RayTask, Result, Work, Workload

TRIES = 3  # of one task, if workers or nodes die under it
GRACE_S = 30.0  # beyond a task's own deadline, before the driver ends its worker
FETCH_S = 30.0  # for a result that is ready: a client outside the cluster fetches some MB over any link
POLL_S = 0.25  # how often the driver checks deadlines and progress
NODES_POLL_S = 3.0  # how often it lists the nodes
NODE_LOST_S = 6.0  # a node that is missing for longer is lost; Ray itself may never say so


class RayLoop(Generic[Work, Result]):
    """The tasks in flight."""

    def __init__(self, workload: Workload[Work, Result], coordinator: Any, progress: Progress) -> None:
        self._workload, self._coordinator, self._progress = workload, coordinator, progress
        self._running: dict[Any, RayTask[Work]] = {}  # by ray.ObjectRef
        self._missing_since: dict[str, float] = {}  # by node
        self._is_coordinator_lost = False  # then nobody reports which tasks have started
        self._cluster = cluster_resources()
        self._nodes_read = self._reports_read = time.monotonic()

    def run(self, works: Iterable[tuple[TaskName, Work]]) -> Iterator[tuple[RayTask[Work], Result]]:
        """Yield each task with its result, as they end."""
        waiting = deque(RayTask(name, work) for name, work in works)
        while waiting or self._running:
            yield from self._launch(waiting)
            for ref, is_ready in self._ended().items():
                task = self._running.pop(ref)
                result, retry = self._fetched(ref, task) if is_ready else self._abandoned(ref, task)
                self._progress.finished(task.name, again=retry is not None)
                if retry is not None:
                    waiting.append(RayTask(task.name, retry, task.tries + 1))
                else:
                    yield task, result

    def _launch(self, waiting: deque[RayTask[Work]]) -> Iterator[tuple[RayTask[Work], Result]]:
        """Launch tasks until the next one does not fit; yield those that no node can run."""
        while waiting:
            task = waiting[0]
            # Checked each time: the only node that could run it may have died.
            refusal = self._workload.refusal(task.work, self._cluster)
            if refusal is not None:
                self._progress.finished(task.name)
                yield waiting.popleft(), refusal
                continue
            running = [other.work for other in self._running.values()]
            ref = self._workload.launch(task, running, self._cluster)
            if ref is None:
                return
            task.launched = time.monotonic()
            self._running[ref] = waiting.popleft()

    # -------------------------------------------------------------------------------- waiting

    def _ended(self) -> dict[Any, bool]:
        """Tasks by reference: True if one has ended; False if it is late, impossible, or on a lost node."""
        ready: list[Any] = []
        if self._running:
            ready, _ = ray.wait(list(self._running), num_returns=1, timeout=POLL_S)
        else:  # no task fits on any node now
            time.sleep(POLL_S)
        now = time.monotonic()
        if now - self._nodes_read > NODES_POLL_S:
            self._cluster, self._nodes_read = cluster_resources(), now
        if now - self._reports_read > POLL_S or not ready:
            self._read_reports()
            self._reports_read = now
        lost = self._lost_nodes(now)
        abandoned = {
            ref: False
            for ref, task in self._running.items()
            if task.node in lost
            or self._ran_s(task, now) > self._workload.deadline_s(task.work) + GRACE_S
            or (task.started is None and self._workload.refusal(task.work, self._cluster) is not None)
        }
        return abandoned | dict.fromkeys(ready, True)

    def _ran_s(self, task: RayTask[Work], now: float) -> float:
        since = task.launched if self._is_coordinator_lost else task.started
        return 0.0 if since is None else now - since

    def _read_reports(self) -> None:
        try:
            counts, nodes = ray.get(self._coordinator.take.remote(), timeout=COORDINATOR_TIMEOUT_S)
        except RayError:
            self._is_coordinator_lost = True  # results come another way
            return
        self._is_coordinator_lost = False
        for name, count in counts.items():
            self._progress.advanced(name, count)
        for task in self._running.values():
            node = nodes.get((task.name, task.tries))
            if node is not None and task.started is None:
                task.node, task.started = node, time.monotonic()

    def _lost_nodes(self, now: float) -> set[str]:
        for node in {task.node for task in self._running.values() if task.node is not None}:
            if node in self._cluster.nodes:
                self._missing_since.pop(node, None)
            else:
                self._missing_since.setdefault(node, now)
        return {node for node, since in self._missing_since.items() if now - since > NODE_LOST_S}

    # ------------------------------------------------------------------------------- results

    def _fetched(self, ref: Any, task: RayTask[Work]) -> tuple[Result, Work | None]:
        """The result of a task that ended, and the work to try again, if any."""
        retry: Work | None = task.work
        try:
            result: Result = ray.get(ref, timeout=FETCH_S)
            return result, None
        except GetTimeoutError:
            reason, problem = "node-lost", "it ended, but its node does not answer"
        except OutOfMemoryError as error:
            reason, problem = "out-of-memory", _first_line(error)
            retry = self._workload.with_more_memory(task.work, self._cluster)
        except RayTaskError as error:
            return self._workload.failure(task, "internal", str(error)), None
        except WorkerCrashedError:
            reason, problem = "node-lost", "its worker process died"
        except RayError as error:
            reason, problem = "node-lost", _first_line(error)
        return self._workload.failure(task, reason, problem), retry if task.tries < TRIES else None

    def _abandoned(self, ref: Any, task: RayTask[Work]) -> tuple[Result, Work | None]:
        """The result of a task that went quiet, and the work to try on another node, if any."""
        # Cancelling may hang if the node is cut off.
        threading.Thread(target=_cancel, args=(ref,), daemon=True).start()
        refusal = self._workload.refusal(task.work, self._cluster) if task.started is None else None
        if refusal is not None:
            return refusal, None
        if task.node not in self._missing_since:
            limit_s = self._workload.deadline_s(task.work)
            return self._workload.failure(task, "timeout", f"not finished after {limit_s:.0f} s"), None
        failure = self._workload.failure(task, "node-lost", "its node is gone")
        return failure, task.work if task.tries < TRIES else None


def _cancel(ref: Any) -> None:
    with contextlib.suppress(RayError):
        ray.cancel(ref, force=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
