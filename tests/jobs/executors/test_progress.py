"""Progress: a line for each running model and an overall bar, and nothing off a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from support.commands import Ran
from support.little_models import little

from jobs.demo.checkpoints import Cloud, write
from jobs.demo.hub.local_hub import LocalHub, ReplyShape
from jobs.executors.progress import Screen, Silence, progress_for

# Ray's nodes leave sockets unclosed in this process.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

BIG = Cloud(rows=20_000, dims=256, centre_l2=0.3, row_norm=1.1)  # 10 MB


def test_off_a_terminal_nothing_is_drawn() -> None:
    assert isinstance(progress_for(Console(file=io.StringIO())), Silence)


def test_on_a_terminal_each_model_shows_its_bytes(hub: LocalHub, tmp_path: Path, executor: list[str]) -> None:
    write(little("big", cloud=BIG), tmp_path / "big")
    hub.add_repo("org/big", tmp_path / "big")
    hub.shape = ReplyShape(connection_bytes_s=1_600_000)
    screen, stderr = pty.openpty()
    command = [sys.executable, "-c", "from survey.cli import entry; entry()", "run", "org/big",
               "--catalog", "c", "--endpoint", hub.endpoint, *executor]  # fmt: skip
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm"},
    ) as run:
        os.close(stderr)
        drawn = _read_all(screen)
        assert run.stdout is not None
        out = run.stdout.read()
    assert run.returncode == 0
    assert "1 measured" in out
    assert "\x1b" not in out
    assert "planning" in drawn
    assert re.search(r"measuring.*0/1", drawn)
    shown = [float(done) for done in re.findall(r"org/big .*?([\d.]+)/10\.2 MB", drawn)]
    assert shown == sorted(shown)
    assert 1 < shown[-1] <= 10.2


def test_spectra_that_rows_lack_are_a_stage_of_their_own() -> None:
    drawn = io.StringIO()
    with Screen(Console(file=drawn, force_terminal=True, width=100)) as screen:
        for stage in (screen.measuring, screen.adding_spectra):
            stage(2)
            screen.finished(("org/one",))
    assert [stage for stage in ("measuring", "spectra") if re.search(rf"{stage}.*0/2", drawn.getvalue())] == [
        "measuring",
        "spectra",
    ]


def test_a_script_sees_no_progress(hub: LocalHub, survey: Callable[..., Ran], tmp_path: Path) -> None:
    write(little("one"), tmp_path / "one")
    hub.add_repo("org/one", tmp_path / "one")
    ran = survey("run", "org/one", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert (ran.code, ran.err) == (0, "")


def _read_all(screen: int) -> str:
    drawn = b""
    while True:
        try:
            piece = os.read(screen, 65_536)
        except OSError:  # the last writer is gone
            piece = b""
        if not piece:
            os.close(screen)
            return drawn.decode()
        drawn += piece
