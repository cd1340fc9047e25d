"""Exit codes are true even if the output is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = "from survey.cli import entry; entry()"


def ran(words: str, cwd: Path, redirect: str) -> subprocess.CompletedProcess[str]:
    command = f'exec "{sys.executable}" -c "{PROGRAM}" {words} {redirect}'
    return subprocess.run(["sh", "-c", command], cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("redirect", "models", "code"),
    [
        (">/dev/full", "checkpoints/little nowhere", 1),
        (">/dev/full 2>/dev/full", "checkpoints/little", 0),
        (">&- 2>&- <&-", "checkpoints/little", 0),
    ],
)
def test_a_run_whose_output_is_lost_tells_what_it_did(
    checkpoint: Callable[..., Path], tmp_path: Path, redirect: str, models: str, code: int
) -> None:
    checkpoint()
    endpoint = "--endpoint http://127.0.0.1:9"
    words = f"run {models} --catalog c --executor serial --summary s.json {endpoint}"
    if code:
        (tmp_path / "checkpoints/nowhere").mkdir()
        words = words.replace("nowhere", "checkpoints/nowhere")
    ended = ran(words, tmp_path, redirect)
    assert ended.returncode == code, ended.stderr
    assert (tmp_path / "s.json").exists()
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", ["--help", "nightly models.txt --at 02:00 --on cron"])
def test_what_cannot_be_printed_is_no_success(tmp_path: Path, words: str) -> None:
    (tmp_path / "models.txt").write_text("org/name\n")
    ended = ran(words, tmp_path, ">/dev/full")
    assert (ended.returncode, ended.stderr) == (
        2,
        "survey: stdout: No space left on device; not all was printed\n",
    )


def test_a_reader_that_has_enough_is_no_failure(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--help"], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_complaint_that_a_pipe_takes_in_parts_arrives_whole(tmp_path: Path) -> None:
    """A pipe that does not block takes what fits, and a signal interrupts the rest."""
    reader, writer = os.pipe()
    words = "from survey.cli.streams import open_streams; open_streams(); import signal, sys; "
    words += (
        "signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5); "
    )
    words += "sys.stderr.write('x' * 500_000 + 'end'); signal.setitimer(signal.ITIMER_REAL, 0)"
    started = subprocess.Popen([sys.executable, "-c", words], cwd=tmp_path, stderr=writer)
    os.close(writer)
    time.sleep(1.5)  # the pipe is full, and the write was interrupted
    with open(reader, "rb") as arrived:
        assert arrived.read() == b"x" * 500_000 + b"end"
    assert started.wait(timeout=60) == 0
