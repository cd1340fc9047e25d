"""A query's process ends by itself, even if its parent was killed and cannot stop it."""

from __future__ import annotations

import json
import signal
import subprocess
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
    ran = subprocess.run(python_command("queries.web.query_process", "3"), input=request, timeout=60)
    assert ran.returncode == -signal.SIGALRM
    assert time.monotonic() - began >= 3


def test_a_waiting_client_is_told_before_the_end(tmp_path: Path) -> None:
    assert OVERTIME_S > 0
    with pytest.raises(UsageError, match="stopped after 2 s"):
        ask_apart(_question(tmp_path, ENDLESS), 2)


def test_what_has_an_end_is_answered(tmp_path: Path) -> None:
    assert json.loads(ask_apart(_question(tmp_path, "SELECT 7 AS a"), 60))["rows"] == [[7]]
