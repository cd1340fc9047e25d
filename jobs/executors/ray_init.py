"""Start or join Ray without the changes that `ray.init` makes to a process that is not its own script."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import ray

from jobs.executors.ray_start import OWN_FOLDER as OWN_FOLDER


def init_ray(**arguments: Any) -> None:  # Any: as ray.init has them
    """Call `ray.init` so that the working folder is not on the workers' import path."""
    with _from_own_folder(), _own_signals():
        ray.init(**arguments)


@contextlib.contextmanager
def _from_own_folder() -> Iterator[None]:
    """Make OWN_FOLDER the working folder, and hide the script's name.

    Ray puts the driver's working folder and its script's first on the import path of every worker, and an
    embedded Ray's processes start there: a `json.py` in a downloaded checkpoint would run in all of them.
    """
    script = sys.argv[0]
    sys.argv[0] = "survey"
    try:
        with _in_own_folder():
            yield
    finally:
        sys.argv[0] = script


@contextlib.contextmanager
def _in_own_folder() -> Iterator[None]:
    """Change to OWN_FOLDER, and back afterwards, even if the old folder is unreadable or deleted."""
    try:
        before = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))  # O_PATH needs no permission to list it
    except OSError:  # no permission to enter it (`sudo -u` from /root): nothing in it can be imported either
        yield
        return
    try:
        os.chdir(OWN_FOLDER)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this program's handler of SIGTERM: Ray's ends the process with 0 or 15 and records nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as stopped:  # Ray's handler, while it starts
        raise KeyboardInterrupt from stopped
    finally:
        signal.signal(signal.SIGTERM, handler)
