"""Run the tasks one after another in this process, without Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from catalog.store.open import CatalogStore
from jobs.executors.progress import Progress
from jobs.planning.memory import THREADS, gpu_host_bytes, local_bytes, thread_bytes
from jobs.tasks.measure_one import measure_one
from jobs.tasks.outcome import Outcome, infeasible
from survey.hub.throttle import Throttle
from survey.onepass.device import Device, choose_device
from survey.process.machine import cpus, memory_bytes
from survey.records.settings import Settings
from survey.records.target import Target


def run_serially(
    targets: Sequence[Target],
    settings: Settings,
    throttle: Throttle,
    progress: Progress,
    commit_to: CatalogStore | None = None,
) -> Iterator[tuple[Outcome, int]]:
    """Yield each target's outcome and the number of tries, as they end. commit_to: as in measure_one."""
    limit_bytes = memory_bytes()
    chosen = None
    if settings.device == "auto":  # once for all of them: a GPU takes seconds to start
        chosen = choose_device("auto", local_bytes=local_bytes(targets))
    for target in targets:
        progress.started(target)
        if target.memory_bytes > limit_bytes:
            outcome: Outcome = infeasible(target, limit_bytes, "this process")
        else:
            own = replace(settings, threads=settings.threads or _threads(target, limit_bytes))
            if chosen is not None:
                own = _with_device(own, chosen, target, limit_bytes)
            outcome = measure_one(target, own, throttle, partial(progress.advanced, target.key), commit_to)
        progress.finished(target.key)
        yield outcome, 1


def _threads(target: Target, limit_bytes: int) -> int:
    """One for each CPU, or as many as the memory allows: a task's own bytes are for THREADS of them."""
    more = (limit_bytes - target.memory_bytes) // thread_bytes(target.spec)
    return min(cpus(), THREADS + more)


def _with_device(settings: Settings, chosen: Device, target: Target, limit_bytes: int) -> Settings:
    """The settings with the device that `auto` chose, or the CPU if the memory is too small."""
    needed = target.memory_bytes + gpu_host_bytes(target.spec)  # the plan did not know of a GPU
    if chosen.name != "cpu" and needed > limit_bytes:
        chosen = Device("cpu", f"a GPU needs {needed / 1e9:.1f} GB of memory")
    return replace(settings, device=chosen.name, device_reason=chosen.reason)
