"""Limits of a shell or a batch system: a command that needs more says so, and nothing crashes."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from survey.cli import cli
from survey.process.memory_limit import limit_memory
from survey.process.ulimits import MEASURING, file_shortage, shortage, too_small_for

SURVEY = Path(sys.executable).parent / "survey"
COMMANDS = {
    "run": ["run", ".", "--executor", "serial"],
    "run on Ray": ["run", "."],
    "demo": ["demo"],
    "sql": ["sql", "SELECT 1"],
    "report": ["report", "-o", "r.html"],
    "compact": ["compact"],
    "plan": ["plan", "."],
}


def ran(flag: str, limit_kb: int, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("bash") or "/bin/sh"
    script = f'ulimit -{flag} {limit_kb} && exec "$0" "$@"'
    return subprocess.run(
        [shell, "-c", script, str(SURVEY), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )


@pytest.mark.parametrize("flag", ["d", "v"])
@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_limit_that_leaves_no_room_is_one_line(arguments: list[str], flag: str, tmp_path: Path) -> None:
    result = ran(flag, {"d": 150_000, "v": 400_000}[flag], arguments, tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert f"(ulimit -{flag}), and `survey {arguments[0]}` needs at least" in result.stderr
    assert not any(tmp_path.iterdir())


def test_what_measures_needs_more_than_what_reads(tmp_path: Path) -> None:
    assert ran("d", 400_000, ["run", ".", "--executor", "serial"], tmp_path).returncode == 2
    assert "no catalog" in ran("d", 400_000, ["sql", "SELECT 1"], tmp_path).stderr


def test_a_user_who_may_start_no_thread_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, whom no limit of processes binds, the failure is made by hand."""
    start, started = threading.Thread.start, []

    def fail(thread: threading.Thread) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert "no further thread or process can be started" in (too_small_for("run") or "")
    assert not any(thread.is_alive() for thread in started)
    assert too_small_for("sql") is None


def test_without_a_limit_every_command_starts() -> None:
    assert cli.commands.keys() > MEASURING
    assert [too_small_for(command) for command in cli.commands] == [None] * len(cli.commands)


SHORTAGES: dict[str, tuple[BaseException, str]] = {
    "memory": (MemoryError("malloc of size 64 failed"), "the memory is used up"),
    "memory of the system": (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory is used up"),
    "a library": (
        ImportError("librt.so.1: failed to map segment from shared object"),
        "the memory is used up",
    ),
    "a library's pages": (
        ImportError("libarrow.so.2600: cannot map zero-fill pages"),
        "the memory is used up",
    ),
    "a library's words": (RuntimeError("std::bad_alloc"), "the memory is used up"),
    "threads": (RuntimeError("can't start new thread"), "no further thread or process can be started"),
    "processes": (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no further thread"),
}
OTHERS: dict[str, BaseException] = {
    "a file": FileNotFoundError(errno.ENOENT, "No such file or directory"),
    "a disk": OSError(errno.ENOSPC, "No space left on device"),
    "a defect": RuntimeError("dictionary changed size during iteration"),
    "a missing library": ImportError("No module named 'altair'"),
}


@pytest.mark.parametrize(("error", "problem"), SHORTAGES.values(), ids=SHORTAGES)
def test_a_shortage_is_told_from_a_defect(error: BaseException, problem: str) -> None:
    assert (shortage(error) or "").startswith(problem)


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_another_error_is_none(error: BaseException) -> None:
    assert shortage(error) is None


FULL: dict[str, tuple[OSError, str]] = {
    "a disk": (OSError(errno.ENOSPC, "No space left on device"), "no room for temporary files"),
    "a quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), "no room for temporary files"),
    "a limit of files' sizes": (OSError(errno.EFBIG, "File too large"), "raise `ulimit -f`"),
    "no folder": (
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
        "TMPDIR",
    ),
    "open files": (OSError(errno.EMFILE, "Too many open files"), "(ulimit -n)"),
}


@pytest.mark.parametrize(("error", "words"), FULL.values(), ids=FULL)
def test_a_full_disk_is_told_from_a_defect(error: OSError, words: str) -> None:
    assert words in (file_shortage(error) or "")
    assert [file_shortage(OTHERS[name]) for name in ("a file", "a defect", "a missing library")] == [None] * 3


def test_the_limit_of_a_query_leaves_room_for_the_stacks_of_many_cpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[int] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: limits.append(pair[0]))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (8 << 20, 8 << 20))
    for cpus in (2, 128):
        monkeypatch.setattr(os, "cpu_count", lambda cpus=cpus: cpus)
        limit_memory(1024)
    assert [limit >> 20 for limit in limits] == [1024 + 2 * 2 * 8, 1024 + 2 * 128 * 8]
