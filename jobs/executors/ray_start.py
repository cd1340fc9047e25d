"""Start the process of an embedded Ray's head node, and find it a folder: without loading Ray, in no time.

Its temporary folder is new, readable by its owner only, and removed with it: Ray's default, /tmp/ray, may
belong to another user, and a TMPDIR of a batch system is often too long for the names of sockets in it. Ray
lets everybody write to the folder that it is given, so that is one inside.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from survey.errors import UsageError
from survey.process.interpreter import python_command
from survey.process.machine import available_memory_bytes, cpus
from survey.process.owned_folders import owned, remove_orphans

# A folder of this package without Python in it: on every node the path is this package's or does not exist.
OWN_FOLDER = Path(__file__).parents[1] / "ray_clusters"
FOLDER_PREFIX = "sv-"  # of its temporary folder
OBJECT_STORE_BYTES = 512 << 20  # a result is a few MB and is fetched at once
MIN_STORE_BYTES = 80 << 20  # Ray refuses less than 75 MiB
# A socket's path has 107 bytes at most; Ray adds /session_2026-11-27_20-55-28_123456_4194304/sockets/
# plasma_store, which has 65.
MAX_PATH_BYTES = 40
SESSIONS = "r"  # Ray's own folder, inside the temporary one
MIN_FILES, MAX_FILES = 64, 4096
END_S = 10.0  # for a head node to end Ray; it takes a tenth of a second
# Variables that name files which worker processes open, too.
_PATHS = (
    "AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "CURL_CA_BUNDLE", "HF_HOME",
    "HF_HUB_CACHE", "HF_TOKEN_PATH", "HOME", "NETRC", "NUMBA_CACHE_DIR", "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
)  # fmt: skip


class HeadProcess:
    """The head node of one run's embedded Ray: started while the run plans, ended with it.

    settings: the environment in which its processes run and a driver joins it.
    """

    def __init__(self) -> None:
        self.settings: Mapping[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        self._problem: UsageError | None = None
        self._stack, self._lock = contextlib.ExitStack(), threading.Lock()

    def start(self) -> None:
        """Start it, if that was not done yet, and return at once; from any thread."""
        with self._lock:
            if self._process is not None or self._problem is not None:
                return
            try:
                self._process = self._started()
            except UsageError as error:
                self._problem = error

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process. Raises UsageError if this machine has no folder, or too few open files, for it."""
        self.start()
        if self._problem is not None:
            raise self._problem
        assert self._process is not None
        return self._process

    def __enter__(self) -> HeadProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """End Ray, if it was started, and remove its folder; it may be started again."""
        with self._lock:
            self._stack.close()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        _allow_files()
        self.folder = _temporary_folder()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        remove_orphans(self.folder.parent, FOLDER_PREFIX)
        self._stack.enter_context(owned(self.folder))
        self._stack.callback(end_leftovers, self.folder)
        self.settings = _private_settings() | _absolute_paths()
        process = _start_head(self.folder, self.settings)
        self._stack.callback(_end_head, process)
        return process


def _start_head(folder: Path, settings: Mapping[str, str]) -> subprocess.Popen[str]:
    memory_bytes = available_memory_bytes()
    store_bytes = max(MIN_STORE_BYTES, min(OBJECT_STORE_BYTES, memory_bytes // 8))
    sizes = map(str, (cpus(), max(1, memory_bytes - store_bytes), store_bytes))
    # In a process group of its own: Ctrl-C ends it only after its driver. Its working folder, and that of
    # the workers, holds no module.
    (folder / SESSIONS).mkdir()
    with (folder / "head.err").open("wb") as stderr:
        return subprocess.Popen(
            python_command("jobs.executors.ray_head", str(folder / SESSIONS), *sizes),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
            env=os.environ | settings, cwd=OWN_FOLDER, process_group=0,
        )  # fmt: skip


def _end_head(head: subprocess.Popen[str]) -> None:
    """Make a head node end Ray and itself; if it does not, the system ends Ray with it."""
    assert head.stdin is not None
    assert head.stdout is not None
    head.stdin.close()
    head.stdout.close()
    try:
        head.wait(END_S)
    except subprocess.TimeoutExpired:
        head.kill()
        head.wait()


def end_leftovers(folder: Path) -> None:
    """Kill the processes that still write logs into a folder: workers outlive a raylet that was killed."""
    real = os.path.realpath(folder)  # as the system names open files, whatever links TMPDIR leads through
    for stream in Path("/proc").glob("[0-9]*/fd/[12]"):
        with contextlib.suppress(OSError):  # the process is gone, or another user's
            if os.readlink(stream).startswith(f"{real}/"):
                os.kill(int(stream.parts[2]), signal.SIGKILL)


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
        if len(os.fsencode(folder / SESSIONS)) <= MAX_PATH_BYTES:
            return folder
        folder.rmdir()
        problems.append(f"{parent}: its name is too long for a socket")
    raise UsageError(
        f"no folder for Ray's temporary files ({'; '.join(problems)}): "
        "set RAY_TMPDIR to a short one that can be written to, or add --executor serial"
    )
