"""What a process may use of a machine, by the files in which Linux tells."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from survey.machine import available_memory_bytes, cpus, memory_bytes

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


CPUS = {
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
    "version 1 without": ([V1, {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}], None, 32 * GB),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_that_of_the_cgroup(name: str, tmp_path: Path) -> None:
    files, limit, available = MEMORY[name]
    root = machine(tmp_path, MEMINFO, *files)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_bytes(root) == min(physical, limit or physical)
    assert available_memory_bytes(root) == available
