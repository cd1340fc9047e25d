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
STATEMENTS = {
    "computed while it is planned": DEAF,
    "of one text": "SELECT lpad('x', 1000000000, 'y') AS x",
    "dynamic PIVOT": "PIVOT (SELECT range AS n FROM range(100000000)) ON n % 100000 USING count(*)",
    "counted": HEARING,
}


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
@pytest.mark.parametrize("sql", STATEMENTS.values(), ids=STATEMENTS)
def test_the_first_signal_ends_a_statement(
    tmp_path: Path, started: list[subprocess.Popen[str]], sql: str
) -> None:
    process = _ask(sql, tmp_path)
    started.append(process)
    _wait_until_busy(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130


DEAF_STEP = """
import hashlib, signal, sys
from survey.cli.stopping import ended_by_second_signal, only_reads
signal.signal(signal.SIGINT, signal.default_int_handler)
with ended_by_second_signal():
    if sys.argv[1] == "reads":
        with only_reads():
            print("after it", flush=True)
    print("begins", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


@pytest.mark.parametrize("before", ["nothing", "reads"])
def test_a_step_that_may_have_something_to_finish_is_ended_by_the_second(
    started: list[subprocess.Popen[str]], before: str
) -> None:
    process = subprocess.Popen([sys.executable, "-c", DEAF_STEP, before], text=True, stdout=subprocess.PIPE)
    started.append(process)
    assert process.stdout is not None
    while process.stdout.readline() != "begins\n":
        assert process.poll() is None
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(2.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130


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
    process.send_signal(signal.SIGINT)
    _read_until(screen, b"did not hear the stop")
    assert process.wait(timeout=10) == 130
