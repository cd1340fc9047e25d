"""Limits that a shell or a batch system sets on this process (`ulimit`), and errors that come of them.

Below a few hundred megabytes the libraries do not raise: OpenBLAS, DuckDB and numba end the process, or wait
for ever for a thread that could not be started. So a command whose limit is too small does not start.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from dataclasses import dataclass

# Measured on x86-64 with two CPUs: `survey run` of a small matrix needs 490 MB of data and 1.8 GB of
# addresses; `sql`, `plan`, `tokens` 0.15 GB and 0.4 GB, `compact` 0.25 GB of data.
MEASURING = frozenset({"run", "demo", "cluster", "spectrum", "kinematics", "train"})
_NO_MEMORY = (
    *("failed to map segment", "cannot map zero-fill pages", "cannot create shared object descriptor"),
    *("annot allocate memory", "out of memory", "bad_alloc"),
)
_NO_LIMIT = "see the limits of this machine or container"
_OWN_THREADS = 5  # beside one for each CPU
_PAGE_BYTES = resource.getpagesize()
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_FOLDER = "No usable temporary directory"  # as Python's tempfile puts it
_NO_THREAD = "can't start new thread"


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A limit of this process. flag: of ulimit. needed: MB that a command needs, one that measures too.

    column: of /proc/self/statm, with the pages that count against it.
    """

    kind: int
    flag: str
    what: str
    needed_mb: int
    needed_to_measure_mb: int
    column: int

    @property
    def limit_bytes(self) -> int | None:
        """The limit; None if there is none."""
        soft, _ = resource.getrlimit(self.kind)
        return None if soft == resource.RLIM_INFINITY else soft

    def __str__(self) -> str:
        return f"{(self.limit_bytes or 0) / 1e6:,.0f} MB of {self.what} (ulimit -{self.flag})"


_LIMITS = (
    MemoryLimit(resource.RLIMIT_DATA, "d", "data", 300, 550, 5),
    MemoryLimit(resource.RLIMIT_AS, "v", "addresses", 800, 2000, 0),
)


def process_memory_bytes() -> int | None:
    """The memory that this process alone may use by its limits; None if it has none."""
    limits = [limit.limit_bytes for limit in _LIMITS]
    return min((limit for limit in limits if limit is not None), default=None)


def unused_memory_bytes() -> int | None:
    """What the limits of this process leave of its memory; None if it has none, or on another system."""
    limits = [(limit.limit_bytes, limit.column) for limit in _LIMITS]
    if all(limit is None for limit, _ in limits):
        return None
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = [int(word) for word in file.read().split()]
    except OSError:
        return None
    return min(limit - pages[column] * _PAGE_BYTES for limit, column in limits if limit is not None)


def too_small_for(command: str) -> str | None:
    """The limit within which a command cannot run, and what it needs; None if there is no such limit."""
    for limit in _LIMITS:
        needed_mb = limit.needed_to_measure_mb if command in MEASURING else limit.needed_mb
        if limit.limit_bytes is not None and limit.limit_bytes < needed_mb * 1_000_000:
            return (
                f"this process may use {limit}, and `survey {command}` needs at least {needed_mb:,} MB: "
                "raise the limit"
            )
    return _no_threads() if command in MEASURING else None


def _no_threads() -> str | None:
    """What is short if the threads of a measurement cannot be started; None if they can.

    If OpenBLAS cannot start one, it sends this process an interrupt, as if somebody had stopped it.
    """
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(_OWN_THREADS + (os.cpu_count() or 1))]
    started = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        return shortage(error)
    finally:
        end.set()
        for thread in started:
            thread.join()
    return None


def shortage(error: BaseException) -> str | None:
    """The shortage of memory, threads or processes behind an error, and its limit; None for other errors."""
    words = str(error)
    if (isinstance(error, OSError) and error.errno == errno.EAGAIN) or words.startswith(_NO_THREAD):
        soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        known = "" if soft == resource.RLIM_INFINITY else f"; its user may have {soft:,} (ulimit -u)"
        return f"no further thread or process can be started{known}: raise the limit, or end other processes"
    lacks_memory = isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    )
    if lacks_memory or any(text in words for text in _NO_MEMORY) or _is_duckdbs(error):
        limits = " and ".join(str(limit) for limit in _LIMITS if limit.limit_bytes is not None)
        advice = f"this process may use {limits}: raise the limit" if limits else _NO_LIMIT
        return f"the memory is used up{f' ({words})' if words else ''}; {advice}"
    return None


def file_shortage(error: BaseException) -> str | None:
    """The shortage of space for temporary files, or of open files, behind an error; None for other errors."""
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{error.strerror}: raise the limit (ulimit -n)"
    if error.errno not in NO_ROOM and _NO_FOLDER not in str(error):
        return None
    advice = "free some of the folder for temporary files, name another one by TMPDIR, or raise `ulimit -f`"
    return f"no room for temporary files ({error.strerror}): {advice}"


def _is_duckdbs(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryException"  # by name: this package knows no library
