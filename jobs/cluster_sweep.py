"""Run a sweep's trainings on Ray: a task each, one CPU each; a lost worker's run is started again."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from jobs.cluster_join import RayOptions, join
from jobs.sweep import Failure, Outcome, attempt
from survey.dynamics.setups import Training

TRIES = 3  # of one run, where workers or nodes die under it
LOOK_S = 0.5
FETCH_S = 30.0  # a row that is ready and does not come: its node is out of reach


def train_on_node(run: Training, path: Path | None) -> Outcome:
    """The task: workers are reused and Ray sets OMP_NUM_THREADS once; a task has one CPU and uses one."""
    import torch

    torch.set_num_threads(1)
    return attempt(run, path)


def execute_on_ray(
    todo: Sequence[tuple[Training, Path | None]], options: RayOptions
) -> Iterator[tuple[Training, Outcome]]:
    """Yield each run's outcome as they end. Raises UsageError where the cluster cannot be joined."""
    if not todo:
        return
    # Ray prints what its raylet says, whatever it is told; stdout is for results.
    with contextlib.redirect_stdout(sys.stderr):
        join(options)
        try:
            yield from _drive(todo)
        finally:
            ray.shutdown()


def _drive(todo: Sequence[tuple[Training, Path | None]]) -> Iterator[tuple[Training, Outcome]]:
    declared = ray.remote(num_cpus=1, max_retries=0)(train_on_node)
    waiting = deque((run, path, 1) for run, path in todo)
    running: dict[Any, tuple[Training, Path | None, int]] = {}  # Any: a ray.ObjectRef, which is untyped
    while waiting or running:
        # No more than the cluster runs at once: a queue of thousands would wait in Ray's memory.
        slots = max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting and len(running) < slots:
            run, path, tries = waiting.popleft()
            running[declared.options(name="train").remote(run, path)] = (run, path, tries)
        ready, _ = ray.wait(list(running), num_returns=1, timeout=LOOK_S)
        for ref in ready:
            run, path, tries = running.pop(ref)
            try:
                outcome: Outcome = ray.get(ref, timeout=FETCH_S)
            except RayTaskError as error:
                outcome = Failure(run, str(error))
            except RayError as error:
                if tries < TRIES:
                    waiting.append((run, path, tries + 1))
                    continue
                outcome = Failure(run, f"its worker was lost {tries} times: {str(error).splitlines()[0]}")
            yield run, outcome
