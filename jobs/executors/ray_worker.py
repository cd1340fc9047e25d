"""The code that runs on a Ray cluster: the measuring task, and the coordinator that it reports to."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError

from catalog.store.open import CatalogStore
from jobs.executors.progress import TaskName
from jobs.tasks.measure_one import Try, measure_in_turn
from jobs.tasks.outcome import Outcome
from jobs.tasks.warm_up import begin_warm_up
from survey import version
from survey.hub.throttle import LocalThrottle
from survey.records.settings import Settings
from survey.records.target import Target

REPORT_S = 0.25  # how often a task reports its bytes, and asks whether the Hub wants it to wait
GPU_TASK_THREADS = 4
COORDINATOR_TIMEOUT_S = 5.0  # a coordinator that does not answer is out of reach: go on without it

NumberedTry = tuple[TaskName, int]  # a task and the number of its try: each may run on another node


@ray.remote(num_cpus=0)
class Coordinator:
    """Collects what tasks report: their start, the bytes they received, the Hub's requests to wait."""

    def __init__(self) -> None:
        self._bytes: dict[TaskName, int] = {}
        self._nodes: dict[NumberedTry, str] = {}
        self._throttle = LocalThrottle()

    def started(self, name: TaskName, tries: int, node: str) -> None:
        self._nodes[name, tries] = node

    def add(self, name: TaskName, count: int) -> None:
        self._bytes[name] = self._bytes.get(name, 0) + count

    def take(self) -> tuple[dict[TaskName, int], dict[NumberedTry, str]]:
        """Bytes since the last call, and the node of every try that has started."""
        taken, self._bytes = self._bytes, {}
        return taken, dict(self._nodes)

    def pause(self, seconds: float) -> None:
        self._throttle.pause(seconds)

    def left_s(self) -> float:
        return self._throttle.left_s()


class ClusterThrottle:
    """The throttle of a whole cluster: the coordinator's, and a local one if that is out of reach."""

    def __init__(self, coordinator: Any) -> None:  # Any: an actor's handle is untyped
        self._coordinator = coordinator
        self._local = LocalThrottle()
        self._checked = -REPORT_S

    def wait(self, limit_s: float = math.inf) -> None:
        """Called before every request; it asks the coordinator every REPORT_S at most."""
        until = time.monotonic() + limit_s
        self._local.wait(limit_s)
        if time.monotonic() - self._checked < REPORT_S:
            return
        try:
            while (left_s := ray.get(self._coordinator.left_s.remote(), timeout=COORDINATOR_TIMEOUT_S)) > 0:
                if (sleep_s := min(left_s, until - time.monotonic())) <= 0:
                    return
                time.sleep(sleep_s)
            self._checked = time.monotonic()
        except RayError:  # a timeout is one, too
            return

    def pause(self, seconds: float) -> None:
        self._local.pause(seconds)
        self._coordinator.pause.remote(seconds)


class _Meter:
    """Sums the bytes that a task's connections receive, and reports them every REPORT_S."""

    def __init__(self, name: TaskName, coordinator: Any) -> None:  # Any: as above
        self._name, self._coordinator = name, coordinator
        self._lock = threading.Lock()
        self._unreported, self._reported_at = 0, time.monotonic()

    def add(self, count: int) -> None:
        with self._lock:  # each connection calls from its own thread
            self._unreported += count
            if time.monotonic() - self._reported_at > REPORT_S:
                self._coordinator.add.remote(self._name, self._unreported)
                self._unreported, self._reported_at = 0, time.monotonic()


def measure_on_node(
    target: Target,
    tries: int,
    settings: Settings,
    coordinator: Any,  # Any: as above
    commit_to: CatalogStore | None,
) -> Outcome:
    """The task: measure one target with what Ray assigned to it."""
    (outcome,) = measure_in_turn_on_node([(target, tries)], settings, coordinator, commit_to)
    return outcome


def measure_in_turn_on_node(
    targets: Sequence[tuple[Target, int]],
    settings: Settings,
    coordinator: Any,  # Any: as above
    commit_to: CatalogStore | None,
) -> list[Outcome]:
    """The task: measure targets, each with the number of its try, one after another."""
    node, numbers = ray.get_runtime_context().get_node_id(), {target.key: tries for target, tries in targets}
    # A task has one CPU, or a share of one; what feeds a GPU soon waits for it.
    settings = replace(settings, threads=GPU_TASK_THREADS if settings.device == "cuda" else 1)
    tries = (Try(target, settings, _Meter(target.key, coordinator).add) for target, _ in targets)

    def report(target: Target) -> None:
        coordinator.started.remote(target.key, numbers[target.key], node)

    return list(measure_in_turn(tries, ClusterThrottle(coordinator), commit_to, report))


def describe_node() -> tuple[str, str]:
    """Host name and version of this package on a node; fails if the node cannot import it.

    The worker process that answers loads its kernels from then on.
    """
    begin_warm_up()
    return socket.gethostname(), version()


def warm_up_worker() -> None:
    """Load the kernels: tasks that come to this worker process afterwards find them."""
    begin_warm_up().result()
