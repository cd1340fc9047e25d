"""What runs on the nodes of a Ray cluster: the measuring task, and the desk that it reports to."""

from __future__ import annotations

import math
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError

from catalog.store.open import CatalogStore
from jobs.executors.progress import TaskKey
from jobs.tasks.measure_one import measure_one
from jobs.tasks.outcome import Outcome
from survey import version
from survey.hub.throttle import LocalThrottle
from survey.records.settings import Settings
from survey.records.target import Target

REPORT_S = 0.25  # how often a task reports its bytes, and hears whether the Hub asks to wait
COORDINATOR_TIMEOUT_S = 5.0  # a desk that does not answer is out of reach: go on without it


@ray.remote(num_cpus=0)
class Coordinator:
    """Where tasks say that they have started, what came, and that the Hub asks to wait."""

    def __init__(self) -> None:
        self._bytes: dict[TaskKey, int] = {}
        self._nodes: dict[TaskKey, str] = {}
        self._pace = LocalThrottle()

    def started(self, key: TaskKey, node: str) -> None:
        self._nodes[key] = node

    def forget(self, key: TaskKey) -> None:
        """A task is started anew: where it ran before no longer matters."""
        self._nodes.pop(key, None)

    def add(self, key: TaskKey, count: int) -> None:
        self._bytes[key] = self._bytes.get(key, 0) + count

    def take(self) -> tuple[dict[TaskKey, int], dict[TaskKey, str]]:
        """Bytes since the last call, and the node of every task that has started."""
        taken, self._bytes = self._bytes, {}
        return taken, dict(self._nodes)

    def pause(self, seconds: float) -> None:
        self._pace.pause(seconds)

    def left_s(self) -> float:
        return self._pace.left_s()


class ClusterThrottle:
    """The pace of a whole cluster: kept at the desk, and here where the desk is out of reach."""

    def __init__(self, desk: Any) -> None:  # Any: an actor's handle is untyped
        self._desk = desk
        self._own = LocalThrottle()
        self._asked = -REPORT_S

    def wait(self, limit_s: float = math.inf) -> None:
        """Asked before every request; what the other nodes heard is asked for now and then."""
        until = time.monotonic() + limit_s
        self._own.wait(limit_s)
        if time.monotonic() - self._asked < REPORT_S:
            return
        try:
            while (left_s := ray.get(self._desk.left_s.remote(), timeout=COORDINATOR_TIMEOUT_S)) > 0:
                if (sleep_s := min(left_s, until - time.monotonic())) <= 0:
                    return
                time.sleep(sleep_s)
            self._asked = time.monotonic()
        except RayError:  # a timeout is one, too
            return

    def pause(self, seconds: float) -> None:
        self._own.pause(seconds)
        self._desk.pause.remote(seconds)


class _Meter:
    """Sums up what a task's connections bring, and reports it now and then."""

    def __init__(self, key: TaskKey, desk: Any) -> None:  # Any: as above
        self._key, self._desk = key, desk
        self._lock = threading.Lock()
        self._waiting, self._last = 0, time.monotonic()

    def add(self, count: int) -> None:
        with self._lock:  # each connection calls from its own thread
            self._waiting += count
            if time.monotonic() - self._last > REPORT_S:
                self._desk.add.remote(self._key, self._waiting)
                self._waiting, self._last = 0, time.monotonic()


def measure_on_node(
    target: Target,
    settings: Settings,
    desk: Any,  # Any: as above
    commit_to: CatalogStore | None,
) -> Outcome:
    """The task: measure one target with what Ray assigned to it."""
    desk.started.remote(target.key, ray.get_runtime_context().get_node_id())
    settings = replace(settings, threads=1)  # a task has one CPU, or a share of one
    if settings.device == "auto":
        # num_gpus=0 does not hide GPUs: only Ray's assignment says whether one is ours.
        settings = replace(settings, device="cuda" if ray.get_gpu_ids() else "cpu")
    return measure_one(target, settings, ClusterThrottle(desk), _Meter(target.key, desk).add, commit_to)


def describe_node() -> tuple[str, str]:
    """Host name and version of this package on a node; importing it here is half of the test."""
    return socket.gethostname(), version()
