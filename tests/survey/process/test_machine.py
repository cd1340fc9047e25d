"""What a process may use of a machine, by the files in which Linux tells."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from survey.process.machine import available_memory_bytes, cpus, memory_bytes

GB = 1 << 30
MEMINFO = {"proc/meminfo": f"MemTotal: {64 << 20} kB\nMemAvailable: {32 << 20} kB\n"}
V2 = {"proc/self/cgroup": "0::/user.slice/job_7\n"}
V1 = {"proc/self/cgroup": "4:cpu,cpuacct:/slurm/job_7\n3:memory:/slurm/job_7\n1:name=systemd:/other\n"}


def machine(root: Path, *files: dict[str, str]) -> Path:
    for name, text in {name: text for some in files for name, text in some.items()}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


CPUS: dict[str, tuple[list[dict[str, str]], float]] = {
    "no cgroup": ([{}], math.inf),
    "no limit": ([V2, {"sys/fs/cgroup/user.slice/job_7/cpu.max": "max 100000\n"}], math.inf),
    "its own": ([V2, {"sys/fs/cgroup/user.slice/job_7/cpu.max": "100000 100000\n"}], 1),
    "one above it": ([V2, {"sys/fs/cgroup/user.slice/cpu.max": "100000 100000\n"}], 1),
    "a container's": ([V2, {"sys/fs/cgroup/cpu.max": "100000 100000\n"}], 1),
    "half a CPU is one": ([V2, {"sys/fs/cgroup/cpu.max": "50000 100000\n"}], 1),
    "another's": ([V2, {"sys/fs/cgroup/user.slice/job_8/cpu.max": "100000 100000\n"}], math.inf),
    "version 1": ([V1, {"sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "100000\n",
                        "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000\n"}], 1),
    "version 1 without": ([V1, {"sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "-1\n",
                                "sys/fs/cgroup/cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000\n"}], math.inf),
    "version 2 beside version 1": ([{"proc/self/cgroup": "1:name=systemd:/\n0::/job\n",
                                     "proc/self/mountinfo": "9 8 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                                     "sys/fs/cgroup/unified/job/cpu.max": "100000 100000\n"}], 1),
    "mounted elsewhere": ([V1, {"proc/self/mountinfo": "9 8 0:1 / /cg/of\\040cpus rw shared:7 - cgroup cgroup rw,cpuacct,cpu\n",
                                "cg/of cpus/slurm/cpu.cfs_quota_us": "100000\n",
                                "cg/of cpus/slurm/cpu.cfs_period_us": "100000\n"}], 1),
    "below a container's": ([{"proc/self/cgroup": "0::/docker/abc/job\n",
                              "proc/self/mountinfo": "9 8 0:1 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
                              "sys/fs/cgroup/job/cpu.max": "100000 100000\n"}], 1),
    "outside of its namespace": ([{"proc/self/cgroup": "0::/../other\n", "sys/fs/other/cpu.max": "100000 100000\n",
                                   "sys/fs/cgroup/cpu.max": "200000 100000\n"}], 2),
    "words instead of numbers": ([V2, {"sys/fs/cgroup/cpu.max": "all 100000\n"}], math.inf),
    "a period of nothing": ([V2, {"sys/fs/cgroup/cpu.max": "100000 0\n"}], math.inf),
    "an empty file": ([V2, {"sys/fs/cgroup/cpu.max": ""}], math.inf),
    "lines that say nothing": ([{"proc/self/cgroup": "\n0::\n:\n7\n", "proc/self/mountinfo": "\n - \n1 - cgroup2\n"}], math.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", CPUS)
def test_cpus_are_those_of_the_cgroup(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, quota = CPUS[name]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cpus(machine(tmp_path, *files)) == min(8, quota)


def test_cpus_are_those_of_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 6}, raising=False)
    files = {"sys/fs/cgroup/cpu.max": "400000 100000\n"}
    assert cpus(machine(tmp_path, V2, files)) == 3


MEMORY = {
    "no limit": ([V2, {"sys/fs/cgroup/user.slice/job_7/memory.max": "max\n"}], None, 32 * GB),
    "its own, some of it in use": (
        [V2, {"sys/fs/cgroup/user.slice/job_7/memory.max": f"{GB // 2}\n",
              "sys/fs/cgroup/user.slice/job_7/memory.current": f"{GB // 4}\n",
              "sys/fs/cgroup/user.slice/job_7/memory.stat": f"anon 5\ninactive_file {GB // 8}\n"}], GB // 2, GB // 2 - GB // 8),
    "one above it": ([V2, {"sys/fs/cgroup/user.slice/memory.max": f"{GB // 2}\n"}], GB // 2, GB // 2),
    "version 1": ([V1, {"sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes": f"{GB // 2}\n"}], GB // 2, GB // 2),
    "its parent's is smaller": (
        [V2, {"sys/fs/cgroup/user.slice/job_7/memory.max": f"{GB}\n", "sys/fs/cgroup/user.slice/memory.max": f"{GB // 2}\n"}],
        GB // 2, GB // 2),
    "its parent's is smaller and cannot be seen": (
        [V1, {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GB}\n",
              "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GB // 4}\n",
              "sys/fs/cgroup/memory/memory.stat": f"hierarchical_memory_limit {GB // 2}\n"}], GB // 2, GB // 4),
    "version 1 without": ([V1, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}], None, 32 * GB),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_that_of_the_cgroup(name: str, tmp_path: Path) -> None:
    files, limit, available = MEMORY[name]
    root = machine(tmp_path, MEMINFO, *files)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_bytes(root) == min(physical, limit or physical)
    assert available_memory_bytes(root) == available


# Of the outer of two groups and of the inner one: bytes, CPUs' worth of time, CPUs of the set. None: no limit.
Limit = tuple[int | None, int | None, str | None]
LIMITS: dict[str, tuple[list[Limit], float, int | None]] = {
    "memory": ([(None, None, None), (GB, None, None)], math.inf, GB),
    "memory of the outer one": ([(GB, None, None), (2 * GB, None, None)], math.inf, GB),
    "time": ([(None, None, None), (None, 1, None)], 1, None),
    "time of the outer one": ([(None, 1, None), (None, None, None)], 1, None),
    "a set": ([(None, None, None), (None, None, "0")], 1, None),
    "all of it": ([(2 * GB, 1, "0"), (GB, 1, "0")], 1, GB),
}


@contextmanager
def real_groups(limits: list[Limit]) -> Iterator[list[Path]]:
    """Real cgroups, one in another; yields the innermost of each hierarchy. Skips if none can be made."""
    base, made = Path("/sys/fs/cgroup"), list[Path]()
    version_2 = (base / "cgroup.controllers").exists()
    hierarchies = [base] if version_2 else [base / name for name in ("memory", "cpu", "cpuset")]
    try:
        try:
            inner = [_made(hierarchy, limits, version_2, made) for hierarchy in hierarchies]
        except OSError as error:
            pytest.skip(f"no cgroup can be made here: {error}")
        yield inner
    finally:
        for folder in reversed(made):
            folder.rmdir()


def _made(hierarchy: Path, limits: list[Limit], version_2: bool, made: list[Path]) -> Path:
    folder = hierarchy
    for limit in limits:
        if version_2:
            (folder / "cgroup.subtree_control").write_text("+memory +cpu +cpuset")
        folder = folder / f"survey-test-{os.getpid()}"
        folder.mkdir()
        made.append(folder)
        _limit(folder, "" if version_2 else hierarchy.name, *limit)
    return folder


def _limit(folder: Path, hierarchy: str, memory: int | None, time: int | None, cpuset: str | None) -> None:
    if hierarchy == "cpuset":  # nothing may run in one without these
        (folder / "cpuset.mems").write_text((folder.parent / "cpuset.mems").read_text())
        (folder / "cpuset.cpus").write_text(cpuset or (folder.parent / "cpuset.cpus").read_text())
    elif not hierarchy and cpuset is not None:
        (folder / "cpuset.cpus").write_text(cpuset)
    if hierarchy in ("memory", "") and memory is not None:
        (folder / ("memory.limit_in_bytes" if hierarchy else "memory.max")).write_text(str(memory))
    if hierarchy == "cpu" and time is not None:
        (folder / "cpu.cfs_quota_us").write_text(str(time * 100_000))
    elif not hierarchy and time is not None:
        (folder / "cpu.max").write_text(f"{time * 100_000} 100000")


SAY = "from survey.process.machine import *; print(cpus(), memory_bytes(), available_memory_bytes())"


@pytest.mark.parametrize("name", LIMITS)
def test_a_process_in_a_real_cgroup_keeps_to_it(name: str) -> None:
    limits, most_cpus, most_bytes = LIMITS[name]
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with real_groups(limits) as groups:
        enter = "".join(f"echo $$ > {folder}/cgroup.procs && " for folder in groups)
        ran = subprocess.run(
            ["sh", "-c", f'{enter} exec "$0" -c "$1"', sys.executable, SAY], capture_output=True, text=True
        )
    assert ran.returncode == 0, ran.stderr
    found_cpus, found_bytes, free_bytes = map(int, ran.stdout.split())
    assert found_cpus == min(most_cpus, len(os.sched_getaffinity(0)))
    assert found_bytes == (most_bytes or physical)
    assert 0 < free_bytes < found_bytes
