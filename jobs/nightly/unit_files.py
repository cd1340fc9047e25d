"""Write the files that units need, and let one installation run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.store.regular_files import open_lock
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine
from survey.errors import UsageError
from survey.process.atomic_write import write_atomically

LOCK_WAIT_S = 60.0  # an installation takes a second; systemd may take some
SECRETS = "# Secrets for `survey nightly`, one NAME=value a line.\n# HF_TOKEN=\n"


@contextmanager
def one_at_a_time(machine: JobMachine) -> Iterator[None]:
    """Hold the lock on this user's units: a crontab is read, changed and written as a whole."""
    _make_own_folder(machine.state)
    path = machine.state / "install.lock"
    try:
        descriptor = open_lock(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: remove it") from error
    with os.fdopen(descriptor) as file:
        _lock(file.fileno(), str(path))
        yield


def log_file(job: Job, machine: JobMachine) -> Path:
    return job.log or machine.state / f"{job.name}.log"


def prepare_folders(job: Job, machine: JobMachine) -> list[str]:
    """Make the log's folder, and a file for secrets that only its owner can read; returns notes for the user.

    Raises UsageError if others can read the file.
    """
    make_folder(log_file(job, machine).parent)
    for folder in (machine.state, machine.config):
        _make_own_folder(folder)
    file = machine.env_file
    with contextlib.suppress(FileExistsError), open(file, "x", encoding="utf-8", opener=_for_owner) as new:
        new.write(SECRETS)
    if not file.is_file():
        raise UsageError(f"{file} is no file: remove it")
    _refuse_of_others(file)
    if file.stat().st_mode & 0o077:
        raise UsageError(f"{file} holds secrets and others may read it: chmod 600 {file}")
    return [f"write secrets such as HF_TOKEN=… into {file}", f"the log is {log_file(job, machine)}"]


def _make_own_folder(folder: Path) -> None:
    """Make a folder of what a unit runs or reads. Raises UsageError if others may write there.

    Each night the shell of a unit runs the file of secrets in it, and writes through names in it.
    """
    make_folder(folder)
    _refuse_of_others(folder)
    if folder.stat().st_mode & stat.S_IWOTH:
        raise UsageError(f"{folder} holds what a unit runs and others may write there: chmod o-w {folder}")


def _refuse_of_others(path: Path) -> None:
    if (owner := path.stat().st_uid) not in (0, os.geteuid()):
        raise UsageError(f"{path} is what a unit runs and belongs to user {owner}: make it yours")


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}") from error


def write_unit(path: Path, text: str) -> None:
    """Write a file whole or not at all, and its folder if that is missing. Raises UsageError."""
    try:
        make_folder(path.parent)
        write_atomically(path, text.encode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _lock(descriptor: int, name: str) -> None:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"another `survey nightly` has held {name} for a minute: is it stuck?"
                ) from None
            time.sleep(0.02)
        except OSError:  # a file system without locks: a crontab is read back after each change
            return


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
