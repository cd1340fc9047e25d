"""Join a Ray that runs for this run alone, on loopback only and behind a token."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray

from jobs.executors.ray_init import init_ray
from jobs.executors.ray_settings import ray_settings
from jobs.executors.ray_start import SESSIONS, HeadProcess
from jobs.executors.ray_watch import read_answer, wait_for_worker
from survey.errors import UsageError


@contextlib.contextmanager
def embedded(
    head: HeadProcess,
    tasks: int,
    options: Mapping[str, Any],  # Any: arguments of ray.init
) -> Iterator[None]:
    """Join the Ray of this head, on its way up or not started yet, and end it afterwards.

    tasks: how many there are to do. Raises UsageError if it does not come up.
    """
    names = ray_settings()  # before ours are added
    with head:
        head.process  # noqa: B018 - raises if it cannot start
        try:
            with _environment(head.settings):
                _forget_settings()
                _join(head, tasks, options, names)
                yield
        finally:
            ray.shutdown()
            _forget_settings()


def _join(head: HeadProcess, tasks: int, options: Mapping[str, Any], names: str) -> None:
    try:
        address = read_answer(head.process)["address"]
        init_ray(address=address, _node_ip_address="127.0.0.1", **options)
        wait_for_worker(head.process.pid, tasks)
    except Exception as error:  # Ray raises many kinds, plain Exception among them
        problem = " ".join(str(error).split()) or type(error).__name__
        log_line = _last_log_line(head.folder / SESSIONS)
        raise UsageError(
            f"Ray does not come up on this machine: {problem}{f' ({log_line})' if log_line else ''}. "
            f"{f'Unset {names}, which change how it starts. ' if names else ''}"
            "To go on without Ray, add --executor serial"
        ) from error


def _last_log_line(folder: Path) -> str:
    """The last line that Ray's services wrote to stderr."""
    for log in ("raylet.err", "gcs_server.err"):
        with contextlib.suppress(OSError):
            lines = (folder / "session_latest/logs" / log).read_text(errors="replace").split("\n")
            if messages := [line.strip() for line in lines if line.strip() and " @ " not in line]:
                return messages[-1][:300]
    return ""


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _forget_settings() -> None:
    """Make Ray read its settings again, which it does once, when it is imported."""
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled

    ray_constants.ENABLE_RAY_CLUSTER = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") != "0"
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
