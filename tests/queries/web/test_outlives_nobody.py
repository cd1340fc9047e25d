"""A query's process ends by itself, even if its parent was killed and cannot stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from queries.web.query_process import Question, ask_apart
from survey.errors import UsageError
from survey.process.interpreter import OVERTIME_S, python_command

ENDLESS = "SELECT sum(range % 7) FROM range(100000000000000)"


def _question(folder: Path, sql: str) -> Question:
    return Question(str(folder), sql, {}, "json", 10, 512)


def test_a_query_without_an_end_ends(tmp_path: Path) -> None:
    began = time.monotonic()
    request = json.dumps(asdict(_question(tmp_path, ENDLESS))).encode()
    command = python_command("queries.web.query_process", "3", f"{os.getpid()}")
    ran = subprocess.run(command, input=request, timeout=60)
    assert ran.returncode == -signal.SIGALRM
    assert time.monotonic() - began >= 3


def test_a_waiting_client_is_told_before_the_end(tmp_path: Path) -> None:
    assert OVERTIME_S > 0
    with pytest.raises(UsageError, match="stopped after 2 s"):
        ask_apart(_question(tmp_path, ENDLESS), 2)


def test_what_has_an_end_is_answered(tmp_path: Path) -> None:
    assert json.loads(ask_apart(_question(tmp_path, "SELECT 7 AS a"), 60))["rows"] == [[7]]


ASKS = """
import sys
from queries.web.query_process import Question, ask_apart
ask_apart(Question(sys.argv[1], sys.argv[2], {}, "json", 10, 512), 600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no signal for it")
def test_it_ends_with_the_server_that_was_killed(tmp_path: Path) -> None:
    server = subprocess.Popen([sys.executable, "-P", "-c", ASKS, str(tmp_path), ENDLESS])
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    while not (started := children.read_text().split()) and server.poll() is None:
        time.sleep(0.01)
    (question,) = started
    # Not before it has begun: what runs before its first line is over in milliseconds.
    while b"query_process" in Path(f"/proc/{question}/cmdline").read_bytes() and not _computes(question):
        time.sleep(0.01)
    server.kill()
    server.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{question}").exists() and _state(question) != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{question}").exists() or _state(question) == "Z"


def _state(process: str) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _computes(process: str) -> bool:
    """Whether DuckDB is loaded there."""
    return "duckdb" in Path(f"/proc/{process}/maps").read_text()
