"""A user's machine, a job for its nights, and commands that stand in for the machine's own."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import pytest

from jobs.nightly.job import Job, make_job
from jobs.nightly.machine import JobMachine

COMMIT = f"git+https://github.com/somebody/centroid-survey@{'0123456789' * 4}"
AWKWARD = """a b%c'd"e$HOME;f"""  # what shells, crontabs, unit files and YAML each read in their own way


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for what cron runs: its line holds eight paths, and pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="n") as folder:
        yield Path(folder)


@pytest.fixture
def machine(short_path: Path) -> JobMachine:
    """A user's machine in Greenwich whose program tells what it was called with."""
    return made_machine(short_path / AWKWARD)


def made_machine(folder: Path) -> JobMachine:
    (folder / ".git").mkdir(parents=True)
    program = folder.parent / "b%n ${X}" / "survey"
    program.parent.mkdir()
    program.write_text(
        f'#!{sys.executable}\nimport os, sys\nprint(sys.argv[1:], os.environ.get("HF_ENDPOINT"), os.environ.get("HF_TOKEN"))\n'
    )
    program.chmod(0o755)
    return JobMachine(
        {"HF_ENDPOINT": "https://hub.example/100%", "HF_TOKEN": "hf_secret", "HTTPS_PROXY": "http://me:word@proxy:1", "LANG": "C"},
        program,
        UTC,
        folder / "config",
        folder / "state",
        folder / "units",
        False,
        folder,
    )  # fmt: skip


@pytest.fixture
def job(machine: JobMachine) -> Callable[..., Job]:
    models = machine.folder / "my models.txt"
    models.write_text("# mine\norg/model@main  # a branch\n")  # once: a test calls `make` in threads

    def make(scheduler: str = "cron", **changes: str | None) -> Job:
        image = "registry.example/survey:1" if scheduler == "kubernetes" else None
        package = COMMIT if scheduler == "github" else None
        given = {
            "catalog": str(machine.folder / "my catalog"),
            "at": "02:05",
            "zone": None,
            "package": package,
            **changes,
        }
        return make_job(models, **given, options=("--matrix", "both"), image=image)  # type: ignore[arg-type]

    return make


@pytest.fixture
def commands_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a command of ours before the machine's own; it writes down its calls in the returned file."""
    folder = tmp_path / "first-in-path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def stand_in(name: str, script: str) -> Path:
        calls = folder / f"{name}.seen"
        (folder / name).write_text(f'#!/bin/sh\necho "$*" >>{calls}\nat={folder}/{name}.kept\n{script}\n')
        (folder / name).chmod(0o755)
        return calls

    return stand_in


@pytest.fixture
def telling_program() -> Callable[[Path], None]:
    """Writes a program that tells, as JSON, with what arguments and variables it was called."""

    def write(program: Path) -> None:
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(
            f"#!{sys.executable}\nimport json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
        )
        program.chmod(0o755)

    return write
