"""A signal to stop during a library's call that does not return to Python."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# A shell that starts the tests in the background lets them, and all that they start, ignore SIGINT.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["survey", *sys.argv[1:]]
from survey.cli import entry
entry()
"""
# DuckDB computes constants before it looks for signals; a sum that is counted, it interrupts.
DEAF = "SELECT len(list_sort(range(100000000))) AS x"
HEARING = "SELECT count(*) FROM range(100000000000) AS a, range(1000000) AS b"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    (tmp_path / "c").mkdir()
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def _ask(sql: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START, "sql", sql, "--catalog", str(folder / "c")]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE)


def _used_s(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _wait_until_busy(process: subprocess.Popen[str], before_s: float = 0.0) -> None:
    while _used_s(process) < before_s + 2:
        assert process.poll() is None
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc for the time that a process used")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("sql", "signals"), [(DEAF, 2), (HEARING, 1)], ids=["deaf", "hearing"])
def test_a_second_signal_ends_what_the_first_did_not_interrupt(
    tmp_path: Path, started: list[subprocess.Popen[str]], sql: str, signals: int
) -> None:
    process = _ask(sql, tmp_path)
    started.append(process)
    _wait_until_busy(process)
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(1.5)
    assert process.wait(timeout=20) == 130


def _read_until(screen: int, text: bytes) -> None:
    shown = b""
    while text not in shown:
        shown += os.read(screen, 4096)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc for the time that a process used")
@pytest.mark.timeout(120)
def test_so_it_is_for_a_statement_at_the_prompt(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    """Its library takes Python's notice of signals away at each prompt."""
    screen, terminal = pty.openpty()
    command = [sys.executable, "-c", START, "shell", "--catalog", str(tmp_path / "c")]
    environment = os.environ | {
        "TERM": "xterm",
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "XDG_STATE_HOME": str(tmp_path),
    }
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, text=True, env=environment
    )
    started.append(process)
    _read_until(screen, b"survey>")
    before_s = _used_s(process)
    os.write(screen, f"{DEAF};\r".encode())
    _wait_until_busy(process, before_s)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1.5)
    assert process.wait(timeout=20) == 130
