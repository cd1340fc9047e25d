"""Run a sweep's trainings on Ray: a task each, one CPU each; a lost worker's run is started again.

A training may take any time, so there is no deadline; what is watched is the node that it is on. One
that was cut off is left behind: a call to it may never return.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from jobs.executors.progress import TaskKey
from jobs.executors.ray_session import RayOptions, joined_cluster, pinned_to
from jobs.executors.ray_worker import COORDINATOR_TIMEOUT_S, Coordinator
from jobs.results.sweep import SweepFailure, SweepOutcome, attempt
from survey.dynamics.config import Training

TRIES = 3  # of one run, where workers or nodes die under it
LOOK_S = 0.5
NODES_S = 3.0  # how often the driver looks at the nodes
GONE_S = 10.0  # a node that is missing for so long is gone
FETCH_S = 30.0  # a row that is ready and does not come: its node is out of reach

_Task = tuple[Training, Path | None, int]  # what to train, where to, which try


def train_on_node(
    run: Training, path: Path | None, key: TaskKey, desk: Any
) -> SweepOutcome:  # Any: an actor's handle
    """The task: workers are reused and Ray sets OMP_NUM_THREADS once; a task has one CPU and uses one."""
    import torch

    desk.started.remote(key, ray.get_runtime_context().get_node_id())
    torch.set_num_threads(1)
    return attempt(run, path)


def execute_on_ray(
    todo: Sequence[tuple[Training, Path | None]], options: RayOptions
) -> Iterator[tuple[Training, SweepOutcome]]:
    """Yield each run's outcome as they end. Raises UsageError where the cluster cannot be joined."""
    if not todo:
        return
    # Ray prints what its raylet says, whatever it is told; stdout is for results.
    with contextlib.redirect_stdout(sys.stderr), joined_cluster(options):
        yield from _drive(todo)


def _drive(todo: Sequence[tuple[Training, Path | None]]) -> Iterator[tuple[Training, SweepOutcome]]:
    declared = ray.remote(num_cpus=1, max_retries=0)(train_on_node)
    nodes = _Nodes()
    waiting = deque((run, path, 1) for run, path in todo)
    running: dict[Any, _Task] = {}  # Any: a ray.ObjectRef, which is untyped
    while waiting or running:
        # No more than the cluster runs at once: a queue of thousands would wait in Ray's memory.
        slots = max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting and len(running) < slots:
            task = run, path, _ = waiting.popleft()
            ref = declared.options(name="train").remote(run, path, _key(task), nodes.desk)
            running[ref] = task
        ready, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_S)
        lost = nodes.lost()
        gone = [ref for ref, task in running.items() if _key(task) in lost and ref not in ready]
        for ref in (*ready, *gone):
            run, path, tries = running.pop(ref)
            if ref in gone:
                # Cancelling may hang where the node is cut off.
                threading.Thread(target=_cancel, args=(ref,), daemon=True).start()
                problem: str | None = "its node is gone"
            else:
                outcome, problem = _outcome(ref, run)
            if problem is None:
                yield run, outcome
            elif tries < TRIES:
                waiting.append((run, path, tries + 1))
            else:
                yield run, SweepFailure(run, f"its worker was lost {tries} times: {problem}")


def _key(task: _Task) -> TaskKey:
    """Of one try: where an earlier one ran does not matter."""
    run, _, tries = task
    return run.digest(), str(tries), "output"


def _outcome(ref: Any, run: Training) -> tuple[SweepOutcome, str | None]:
    """What came of a task that ended, and how its worker was lost, if it was."""
    try:
        outcome: SweepOutcome = ray.get(ref, timeout=FETCH_S)
    except RayTaskError as error:
        return SweepFailure(run, str(error)), None
    except RayError as error:
        problem = str(error).strip().partition("\n")[0]
        return SweepFailure(run, problem), problem
    return outcome, None


class _Nodes:
    """The nodes that tasks are on. Ray itself may never say that one was cut off."""

    def __init__(self) -> None:
        # Beside the driver, so that no other node's death takes it away.
        here = pinned_to(ray.get_runtime_context().get_node_id())
        self.desk: Any = Coordinator.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
        self._seen: dict[str, float] = {}  # node -> when it was last alive
        self._looked = 0.0

    def lost(self) -> set[TaskKey]:
        """Tasks whose nodes have been missing for GONE_S; looked up every NODES_S."""
        now = time.monotonic()
        if now - self._looked < NODES_S:
            return set()
        self._looked = now
        try:
            _, places = ray.get(self.desk.take.remote(), timeout=COORDINATOR_TIMEOUT_S)
        except RayError:
            return set()
        self._seen |= {node["NodeID"]: now for node in ray.nodes() if node["Alive"]}
        return {key for key, node in places.items() if now - self._seen.setdefault(node, now) > GONE_S}


def _cancel(ref: Any) -> None:
    with contextlib.suppress(RayError):
        ray.cancel(ref, force=True)
