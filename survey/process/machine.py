"""CPUs and memory that this process may use: by affinity, by its cgroups, by the machine.

A batch job or a container has a share of the machine. Limits are set in the cgroup of the process and in each
one above it; the smallest counts.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from survey.process.ulimits import process_memory_bytes, unused_memory_bytes

ROOT = Path("/")


def cpus(root: Path = ROOT) -> int:
    """The number of CPUs that this process may keep busy, at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [allowed, *_quotas(root)]
    return max(1, math.floor(min(quotas)))


def memory_bytes(root: Path = ROOT) -> int:
    """Memory that this process may ever use, in bytes: the machine's, or a lower limit of its cgroups."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    own = process_memory_bytes() or physical
    return min([physical, own, *(limit for limit, _ in _memory_limits(root))])


def available_memory_bytes(root: Path = ROOT) -> int:
    """Memory that this process may use now, in bytes: free on the machine and within each limit."""
    free = [limit - used for limit, used in _memory_limits(root)]
    if (available := _available(root)) is not None:
        free.append(available)
    return max(0, min(free, default=memory_bytes(root)))


def free_memory_bytes() -> int:
    """What this process may allocate now, in bytes: within its own limits, too."""
    available, unused = available_memory_bytes(), unused_memory_bytes()
    return available if unused is None else max(0, min(available, unused))


def _quotas(root: Path) -> Iterator[float]:
    """CPU time per wall time that each cgroup allows."""
    for folder in _folders(root, "cpu"):
        words = _words(folder / "cpu.max")
        if len(words) == 2 and all(map(str.isdecimal, words)) and int(words[1]):
            yield int(words[0]) / int(words[1])  # version 2: `50000 100000`, or `max 100000`
        quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota is not None and quota > 0 and period:  # version 1; -1 is no limit
            yield quota / period


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """(limit, used) of each cgroup, in bytes; cached files that the kernel can drop do not count as used."""
    for folder in _folders(root, "memory"):
        for limit_name, used_name, droppable in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit = _number(folder / limit_name)
            if limit is not None:
                used = _number(folder / used_name) or 0
                used = max(0, used - _value_of(folder / "memory.stat", droppable))
                yield limit, used
                # Version 1 also states the smallest limit above it, which a container may not see.
                if above := _value_of(folder / "memory.stat", "hierarchical_memory_limit"):
                    yield above, used


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's cgroups, and of those above them, that may limit a controller."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        for top, mounted in _mounts(root, controllers, controller):
            inner = PurePosixPath(path.lstrip("/"))
            if inner.is_relative_to(top):
                inner = inner.relative_to(top)
            # In a container /proc/self/cgroup may name a path of the host that is not mounted, or one
            # outside: then the mounted cgroup is the container's own.
            if ".." in inner.parts:
                inner = PurePosixPath()
            yield from (mounted / part for part in (inner, *inner.parents))


def _mounts(root: Path, controllers: str, controller: str) -> list[tuple[str, Path]]:
    """(cgroup, folder) of each mount of a hierarchy; a container has only its own part of it.

    controllers: those of the hierarchy; "" for version 2, which is mounted elsewhere beside a version 1.
    """
    mounts = []
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, file_system = line.partition(" - ")
        kind, _, options = (*file_system.split(" "), "", "", "")[:3]
        fields = [
            re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text) for text in mount.split(" ")
        ]
        matches = controller in options.split(",") if kind == "cgroup" else kind == "cgroup2"
        if matches and len(fields) > 4 and (kind == "cgroup") == bool(controllers):
            mounts.append((fields[3].lstrip("/"), root / fields[4].lstrip("/")))
    default = root / "sys/fs/cgroup"
    names = [controller, controllers] if controllers else [""]
    return mounts or [("", default / name) for name in names if (default / name).is_dir()]


def _available(root: Path) -> int | None:
    kilobytes = _value_of(root / "proc/meminfo", "MemAvailable:")
    return kilobytes * 1024 or None


def _value_of(path: Path, name: str) -> int:
    """The number after a name in a file of names and numbers; 0 if the name is missing."""
    for line in _lines(path):
        words = line.split()
        if len(words) >= 2 and words[0] == name and words[1].isdecimal():
            return int(words[1])
    return 0


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0].removeprefix("-").isdecimal() else None


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # no such limit, or no permission to read it
        return []
