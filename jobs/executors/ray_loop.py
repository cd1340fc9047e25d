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
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Generic

import ray
from ray.exceptions import RayError

from jobs.executors.progress import Progress, TaskName
from jobs.executors.ray_failures import last_started, reason_of
from jobs.executors.ray_resources import cluster_resources
from jobs.executors.ray_worker import COORDINATOR_TIMEOUT_S
from jobs.executors.ray_workload import RayTask, Result, Work, Workload

TRIES = 3  # of one task, if workers or nodes die under it
GRACE_S = 30.0  # beyond a task's own deadline, before the driver ends its worker
FETCH_S = 30.0  # for a result that is ready: a client outside the cluster fetches some MB over any link
POLL_S = 0.25  # how often the driver checks deadlines and progress
NODES_POLL_S = 3.0  # how often it lists the nodes
NODE_LOST_S = 6.0  # a node that is missing for longer is lost; Ray itself may never say so


# A task that has ended, and its result or else its next try.
Ended = tuple[RayTask[Work], Result | None, RayTask[Work] | None]


class RayLoop(Generic[Work, Result]):
    """The tasks in flight, one by one or in batches: small ones whose bookkeeping at Ray would cost more."""

    def __init__(self, workload: Workload[Work, Result], coordinator: Any, progress: Progress) -> None:
        self._workload, self._coordinator, self._progress = workload, coordinator, progress
        self._running: dict[Any, list[RayTask[Work]]] = {}  # by ray.ObjectRef: a batch, mostly of one
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
                batch = self._running.pop(ref)
                for task, result, retry in (
                    self._fetched(ref, batch) if is_ready else self._abandoned(ref, batch)
                ):
                    self._progress.finished(task.name, again=retry is not None)
                    if retry is not None:
                        waiting.append(retry)
                    elif result is not None:
                        yield task, result

    def _launch(self, waiting: deque[RayTask[Work]]) -> Iterator[tuple[RayTask[Work], Result]]:
        """Launch tasks until the next one does not fit; yield those that no node can run."""
        while waiting:
            # Checked each time: the only node that could run it may have died.
            refusal = self._workload.refusal(waiting[0].work, self._cluster)
            if refusal is not None:
                self._progress.finished(waiting[0].name)
                yield waiting.popleft(), refusal
                continue
            running = [batch[0].work for batch in self._running.values()]
            batch = list(islice(waiting, self._workload.batch_size(waiting, self._cluster)))
            if len(batch) == 1:
                ref = self._workload.launch(batch[0], running, self._cluster)
            else:
                ref = self._workload.launch_batch(batch, running, self._cluster)
            if ref is None:
                return
            for task in batch:
                task.launched = time.monotonic()
                waiting.popleft()
            self._running[ref] = batch

    # -------------------------------------------------------------------------------- waiting

    def _ended(self) -> dict[Any, bool]:
        """Batches by reference: True if one has ended; False if late, impossible, or on a lost node."""
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
            for ref, batch in self._running.items()
            if batch[0].node in lost or self._is_late(batch, now) or self._is_refused(batch)
        }
        return abandoned | dict.fromkeys(ready, True)

    def _is_late(self, batch: Sequence[RayTask[Work]], now: float) -> bool:
        task = last_started(batch) or batch[0]
        since = task.launched if self._is_coordinator_lost else task.started
        return since is not None and now - since > self._workload.deadline_s(task.work) + GRACE_S

    def _is_refused(self, batch: Sequence[RayTask[Work]]) -> bool:
        """Whether a batch that has not started holds a task that no living node can run."""
        return batch[0].started is None and any(
            self._workload.refusal(task.work, self._cluster) is not None for task in batch
        )

    def _read_reports(self, ended: Sequence[RayTask[Work]] = ()) -> None:
        """Note which tasks have started: of those that run, and of a batch that has just ended."""
        try:
            counts, nodes = ray.get(self._coordinator.take.remote(), timeout=COORDINATOR_TIMEOUT_S)
        except RayError:
            self._is_coordinator_lost = True  # results come another way
            return
        self._is_coordinator_lost = False
        for name, count in counts.items():
            self._progress.advanced(name, count)
        for task in chain(ended, *self._running.values()):
            node = nodes.get((task.name, task.tries))
            if node is not None and task.started is None:
                task.node, task.started = node, time.monotonic()

    def _lost_nodes(self, now: float) -> set[str]:
        for node in {batch[0].node for batch in self._running.values() if batch[0].node is not None}:
            if node in self._cluster.nodes:
                self._missing_since.pop(node, None)
            else:
                self._missing_since.setdefault(node, now)
        return {node for node, since in self._missing_since.items() if now - since > NODE_LOST_S}

    # ------------------------------------------------------------------------------- results

    def _fetched(self, ref: Any, batch: list[RayTask[Work]]) -> Iterator[Ended[Work, Result]]:
        """The results of a batch that ended, or the next tries of its tasks."""
        try:
            results = ray.get(ref, timeout=FETCH_S)
        except RayError as error:
            yield from self._failed(batch, *reason_of(error))
            return
        for task, result in zip(batch, [results] if len(batch) == 1 else results, strict=True):
            yield task, result, None

    def _failed(self, batch: list[RayTask[Work]], reason: str, problem: str) -> Iterator[Ended[Work, Result]]:
        """The results of a batch that was lost with its worker, or the next tries of its tasks.

        The one that ran is at fault, or else its node. The others are tried again, each alone: who is at
        fault may have run only since the last report. What has not started keeps the number of its try.
        """
        running = batch[0]
        if len(batch) > 1:
            self._read_reports(batch)
            running = last_started(batch) or batch[0]
        for task in batch:
            if task is running:
                yield self._lost(task, reason, problem)
            else:
                tries = task.tries + (task.started is not None)
                yield task, None, RayTask(task.name, task.work, tries, is_alone=True)

    def _lost(self, task: RayTask[Work], reason: str, problem: str) -> Ended[Work, Result]:
        """The result of a task that was lost, or its next try."""
        retry: Work | None = task.work
        if reason == "out-of-memory":
            retry = self._workload.with_more_memory(task.work, self._cluster)
        elif reason != "node-lost":
            retry = None
        if retry is None or task.tries >= TRIES:
            return task, self._workload.failure(task, reason, problem), None
        return task, None, RayTask(task.name, retry, task.tries + 1, is_alone=True)

    def _abandoned(self, ref: Any, batch: list[RayTask[Work]]) -> Iterator[Ended[Work, Result]]:
        """The results of a batch that went quiet, or the tries of its tasks on another node."""
        # Cancelling may hang if the node is cut off.
        threading.Thread(target=_cancel, args=(ref,), daemon=True).start()
        running = last_started(batch) or batch[0]
        if self._is_refused(batch):
            yield from self._refused(batch)
        elif running.node in self._missing_since:
            yield from self._failed(batch, "node-lost", "its node is gone")
        else:
            limit_s = self._workload.deadline_s(running.work)
            yield from self._failed(batch, "timeout", f"not finished after {limit_s:.0f} s")

    def _refused(self, batch: list[RayTask[Work]]) -> Iterator[Ended[Work, Result]]:
        """The results of those tasks of a batch that no node can run any more; the others wait again."""
        for task in batch:
            refusal = self._workload.refusal(task.work, self._cluster)
            yield task, refusal, None if refusal is not None else RayTask(task.name, task.work, task.tries)


def _cancel(ref: Any) -> None:
    with contextlib.suppress(RayError):
        ray.cancel(ref, force=True)
