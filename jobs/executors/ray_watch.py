"""Watch an embedded Ray start: Ray itself waits half a minute for one of its processes that has died."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError

from jobs.executors.ray_worker import describe_node

WATCH_POLL_S = 0.25
RAY_START_S = 90.0  # Ray's own limits, one after another, are about as long
WORKER_S = 60.0  # for the first worker process, on a machine that is busy
NO_WORKER_S = 15.0  # without any worker process: if one dies, Ray tries again after a minute
MAX_WORKERS = 16
_VITAL = ("gcs_server", "raylet")


class NotUp(Exception):
    """One of Ray's processes died, or took too long, while Ray started."""


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    name: str
    dead: bool  # a zombie


def read_answer(head: subprocess.Popen[str]) -> dict[str, str]:
    """The line that the process of a head node prints once it is up. Raises NotUp if it does not come up."""
    assert head.stdout is not None
    children: dict[int, str] = {}
    end = time.monotonic() + RAY_START_S
    while time.monotonic() < end:
        if select.select([head.stdout], [], [], WATCH_POLL_S)[0]:
            answer: dict[str, str] = json.loads(head.stdout.readline() or '{"problem": "it ended at once"}')
            if "problem" in answer:
                raise NotUp(answer["problem"])
            return answer
        if (died := _died(head.pid, children)) is not None:
            raise NotUp(f"{died} ended at once")
    raise NotUp("it takes too long")


def wait_for_worker(head: int, tasks: int) -> None:
    """Start workers, no more than there are tasks, and return once one has answered.

    head: the process that started Ray. Raises NotUp if no worker answers.
    """
    task = ray.remote(num_cpus=1, max_retries=0)(describe_node)
    workers = min(int(ray.cluster_resources().get("CPU", 1)), tasks, MAX_WORKERS)
    probes: list[Any] = [task.remote() for _ in range(workers)]  # Any: untyped ObjectRefs
    end, last = time.monotonic() + WORKER_S, time.monotonic()
    while time.monotonic() < end:
        ready, _ = ray.wait(probes, timeout=WATCH_POLL_S)
        if ready:
            try:
                ray.get(ready[0])
            except OutOfMemoryError:
                return  # it did start; each model's own tries handle memory
            except RayError as error:
                raise NotUp(str(error).strip().splitlines()[-1]) from error
            return
        if _worker_lives(head):
            last = time.monotonic()
        elif time.monotonic() - last > NO_WORKER_S:
            raise NotUp("its worker processes die as they start")
    raise NotUp(f"no worker process answered within {WORKER_S:.0f} s")


def _died(head: int, known: dict[int, str]) -> str | None:
    """The name of a dead child that Ray needs. known: the head's children so far, which this call adds to."""
    children = {item.pid: item for item in _processes() if item.parent == head}
    known |= {item.pid: item.name for item in children.values() if item.name in _VITAL}
    return next((name for pid, name in known.items() if pid not in children or children[pid].dead), None)


def _worker_lives(head: int) -> bool:
    """Whether the raylet has a child besides its agents; True if the system does not list processes."""
    processes = list(_processes())
    raylets = {item.pid for item in processes if item.parent == head and item.name == "raylet"}
    return not raylets or any(
        item.parent in raylets and not item.dead and not _is_agent(item.pid) for item in processes
    )


def _is_agent(pid: int) -> bool:
    try:
        return b"agent" in Path(f"/proc/{pid}/cmdline").read_bytes().lower()
    except OSError:
        return False


def _processes() -> Iterator[_Process]:
    """Every process that Linux lists; none on other systems, on which only the time limits apply."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):  # the process is gone
            # `pid (name, which may hold anything) state parent …`
            before, _, after = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
            pid, _, name = before.partition(" (")
            state, parent = after.split()[:2]
            yield _Process(int(pid), int(parent), name, state in "ZX")
