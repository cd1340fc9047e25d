"""Start a Ray for this run alone, on loopback only and behind a token.

Its temporary folder is new, readable by its owner only, and removed with it: Ray's default, /tmp/ray, may
belong to another user, and a TMPDIR of a batch system is often too long for the names of sockets in it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray

from jobs.executors.ray_init import init_ray
from jobs.executors.ray_watch import end_leftovers, wait_for_worker, watched
from survey.errors import UsageError
from survey.process.machine import available_memory_bytes, cpus
from survey.process.owned_folders import owned, remove_orphans

FOLDER_PREFIX = "sv-"  # of its temporary folder
OBJECT_STORE_BYTES = 512 << 20  # a result is a few MB and is fetched at once
MIN_STORE_BYTES = 80 << 20  # Ray refuses less than 75 MiB
# A socket's path has 107 bytes at most; Ray adds /session_2026-11-27_20-55-28_123456_4194304/sockets/
# plasma_store, which has 65.
MAX_PATH_BYTES = 40
MIN_FILES, MAX_FILES = 64, 4096
# Variables that name files which worker processes open, too.
_PATHS = (
    "AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "CURL_CA_BUNDLE", "HF_HOME",
    "HF_HUB_CACHE", "HF_TOKEN_PATH", "HOME", "NETRC", "NUMBA_CACHE_DIR", "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
)  # fmt: skip


@contextlib.contextmanager
def embedded(options: Mapping[str, Any]) -> Iterator[None]:  # Any: arguments of ray.init
    """Start a Ray, and end it afterwards. Raises UsageError if it does not come up."""
    _allow_files()
    folder = _temporary_folder()
    remove_orphans(folder.parent, FOLDER_PREFIX)
    try:
        with owned(folder), _environment(_private_settings() | _absolute_paths()):
            _forget_settings()
            try:
                _start(folder, options)
                yield
            finally:
                ray.shutdown()
                end_leftovers(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _forget_settings()


def _start(folder: Path, options: Mapping[str, Any]) -> None:
    memory_bytes = available_memory_bytes()
    store = max(MIN_STORE_BYTES, min(OBJECT_STORE_BYTES, memory_bytes // 8))
    try:
        with watched():
            init_ray(
                address="local",  # "auto" would join anybody's cluster on this machine
                include_dashboard=False,
                num_cpus=cpus(),
                object_store_memory=store,
                _memory=max(1, memory_bytes - store),
                _temp_dir=str(folder),
                _node_ip_address="127.0.0.1",
                **options,
            )
        wait_for_worker()
    except Exception as error:  # Ray raises many kinds, plain Exception among them
        problem = " ".join(str(error).split()) or type(error).__name__
        log_line = _last_log_line(folder)
        raise UsageError(
            f"Ray does not come up on this machine: {problem}{f' ({log_line})' if log_line else ''}. "
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


def _private_settings() -> dict[str, str]:
    """Settings that keep others from this Ray, whatever the defaults of its version.

    Ray replaces 127.0.0.1 by the address of this machine, unless a setting says that there are no clusters.
    """
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Without it, this process cannot be stopped while it waits for workers that die as they start.
        "RAY_prestart_worker_first_driver": "0",
    }


def _absolute_paths() -> dict[str, str]:
    """The environment's relative paths, made absolute: the workers have another working folder."""
    paths = {name: os.environ.get(name, "") for name in _PATHS}
    return {name: os.path.abspath(path) for name, path in paths.items() if path and path[0] not in "/~"}


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


def _allow_files() -> None:
    """Raise the limit of open files, which Ray's processes inherit: each opens some dozens.

    Raises UsageError if the system allows too few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if limit < MIN_FILES:
        raise UsageError(
            f"no process may open more than {limit} files here, and Ray needs {MIN_FILES}: "
            "raise the limit (ulimit -n), or add --executor serial"
        )
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _temporary_folder() -> Path:
    """A new folder for Ray's session, in the first parent that allows one. Raises UsageError if none does."""
    chosen = [os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR")]
    problems: list[str] = []
    for parent in [*filter(None, chosen), "/tmp", "/var/tmp", "/dev/shm"]:
        try:
            folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=os.path.abspath(parent)))
        except OSError as error:
            problems.append(f"{parent}: {error.strerror}")
            continue
        if len(os.fsencode(folder)) <= MAX_PATH_BYTES:
            return folder
        folder.rmdir()
        problems.append(f"{parent}: its name is too long for a socket")
    raise UsageError(
        f"no folder for Ray's temporary files ({'; '.join(problems)}): "
        "set RAY_TMPDIR to a short one that can be written to, or add --executor serial"
    )
