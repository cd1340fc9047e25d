"""One run at a time on a catalog.

In a local folder the operating system's lock, which it lets go when its holder dies. In an object
store, and in a folder whose file system has no locks, a small object that is made only where there is
none, refreshed while its holder lives, and taken over where it has gone stale.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from catalog.store.compare_and_swap import ObjectVersion, create_object, erase_object, peek, replace
from catalog.store.local import LocalFolder
from catalog.store.object_store import Unreadable
from catalog.store.open import CatalogStore
from catalog.store.regular_files import UNSUPPORTED, NotRegular, open_lock
from survey.errors import CatalogInUse, UsageError

LOCK = ".lock"
LOCK_FILE = ".lock-held"  # in a folder without locks: there .lock is always there
REFRESH_S = 60.0
STALE_S = 600.0  # without a refresh its holder is dead, or cut off


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a catalog. machine: tells whether `pid` can be looked up here."""

    run_id: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    machine: str = field(default_factory=lambda: _machine())
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    taken_at: str = field(default_factory=lambda: _now())
    refreshed_at: str = ""

    def to_json(self) -> bytes:
        """As it is stored now: each refresh changes the bytes, so a stale look is noticed."""
        return json.dumps(asdict(dataclasses.replace(self, refreshed_at=_now()))).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, run {self.run_id}, since {self.taken_at}"


class Lock:
    """A lock that is held, as far as its holder knows. note: what a person should know of it."""

    def __init__(self, note: str = "") -> None:
        self._lost = threading.Event()
        self.note = note

    def lose(self) -> None:
        self._lost.set()

    @property
    def ours(self) -> bool:
        """False once another run took it over: nothing may be removed any more."""
        return not self._lost.is_set()


@contextmanager
def catalog_lock(store: CatalogStore, run_id: str = "unknown") -> Iterator[Lock]:
    """Hold the catalog.

    Raises CatalogInUse if another run holds it, naming its process; UsageError where the
    catalog cannot be written.
    """
    if isinstance(store, LocalFolder):
        with _local(store, Holder(run_id)) as lock:
            yield lock
    else:
        with _object(store, LOCK, Holder(run_id)) as lock:
            if not store.conditions.honoured:
                lock.note = (
                    f"{store} ignores conditional writes: two runs that begin in the same second could "
                    "both believe that they hold it"
                )
            yield lock


@contextmanager
def _local(store: LocalFolder, us: Holder) -> Iterator[Lock]:
    try:
        handle = open_lock(store.root / LOCK)
    except OSError as error:
        problem = f"its lock {store.root / LOCK} is {error.strerror}" if isinstance(error, NotRegular) else ""
        raise UsageError(_unwritable(store, problem or f"{error.strerror}: {store.root / LOCK}")) from error
    try:
        if _flock(handle, store):
            _refuse_file_holder(store)
            _write(handle, str(us))
            yield Lock()
            return
    finally:
        os.close(handle)
    with _object(store, LOCK_FILE, us) as lock:
        lock.note = f"the file system of {store} has no locks: {LOCK_FILE} in it keeps other runs away"
        yield lock


def _flock(handle: int, store: LocalFolder) -> bool:
    """Take the system's lock; False if the file system has none. Raises CatalogInUse, UsageError."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(handle, 1000, 0).decode("utf-8", "replace").strip()
        raise _in_use(store, holder or "an unknown holder") from error
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise UsageError(_unwritable(store, f"it cannot be locked: {error.strerror}")) from error
        return False
    return True


def _refuse_file_holder(store: LocalFolder) -> None:
    """A host whose mount has locks meets one whose mount has none. Raises CatalogInUse, UsageError."""
    try:
        seen = peek(store, LOCK_FILE) if (store.root / LOCK_FILE).exists() else None
    except Unreadable as error:
        raise UsageError(_unwritable(store, f"{LOCK_FILE}: {error}")) from error
    if seen is not None and not _is_stale(seen, _read(seen)):
        raise _in_use(store, str(_read(seen) or "an unknown holder"))


def _write(handle: int, text: str) -> None:
    """Name the holder, for those who wait; a full disk or a lock of another user's does not matter."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)


def _unwritable(store: CatalogStore, problem: str) -> str:
    return f"the catalog {store} cannot be written: {problem}. Mend that, or name another with --catalog"


@contextmanager
def _object(store: CatalogStore, name: str, us: Holder) -> Iterator[Lock]:
    try:
        _take(store, name, us)
    except Unreadable as error:
        raise UsageError(f"the catalog {store} cannot be written: {error}") from error
    lock, done = Lock(), threading.Event()
    beat = threading.Thread(target=_refresh, args=(store, name, us, lock, done), daemon=True)
    beat.start()
    try:
        yield lock
    finally:
        done.set()
        beat.join()
        with contextlib.suppress(Unreadable):  # it goes stale by itself
            if lock.ours and _is_ours(peek(store, name), us):
                erase_object(store, name)


def _take(store: CatalogStore, name: str, us: Holder) -> None:
    """Make the lock, or take over a stale one. Raises CatalogInUse, Unreadable."""
    for _ in range(2):  # its holder may let go between our two looks
        if create_object(store, name, us.to_json()):
            return
        seen = peek(store, name)
        if seen is None:
            continue
        if _is_ours(seen, us):  # our PUT arrived, its answer did not
            return
        holder = _read(seen)
        if not _is_stale(seen, holder):
            raise _in_use(store, str(holder or "an unknown holder"))
        if replace(store, name, us.to_json(), seen):
            return
    raise _in_use(store, "a run that began in this moment")


def _refresh(store: CatalogStore, name: str, us: Holder, lock: Lock, done: threading.Event) -> None:
    """Refresh the lock until done; lose it where another took it, or where it cannot be reached."""
    refreshed = time.monotonic()
    while not done.wait(REFRESH_S):
        try:
            if not _refreshed(store, name, us):
                lock.lose()
                return
            refreshed = time.monotonic()
        except Unreadable:
            if time.monotonic() - refreshed > STALE_S:
                lock.lose()
                return


def _refreshed(store: CatalogStore, name: str, us: Holder) -> bool:
    """Write the lock anew; False if it is another's. Raises Unreadable."""
    seen = peek(store, name)
    if seen is None or not _is_ours(seen, us):
        return False
    # One that is refused because its first answer was lost, and not the PUT, has left it ours.
    return replace(store, name, us.to_json(), seen) or _is_ours(peek(store, name), us)


def _is_ours(seen: ObjectVersion | None, us: Holder) -> bool:
    holder = _read(seen) if seen is not None else None
    return holder is not None and holder.token == us.token


def _is_stale(seen: ObjectVersion, holder: Holder | None) -> bool:
    if seen.age_s > STALE_S:
        return True
    return holder is not None and holder.machine == _machine() != "" and not _lives(holder.pid)


def _read(seen: ObjectVersion) -> Holder | None:
    try:
        holder = Holder(**json.loads(seen.content))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (holder.run_id, holder.host, holder.machine, holder.token, holder.taken_at, holder.refreshed_at)
    is_pid = type(holder.pid) is int and 0 < holder.pid < 1 << 31
    return holder if is_pid and all(isinstance(text, str) for text in texts) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _machine() -> str:
    """This boot of this machine and its table of processes, where Linux tells; else nothing."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _in_use(store: CatalogStore, holder: str) -> CatalogInUse:
    return CatalogInUse(f"another run ({holder}) holds {store}: wait for it, or use another --catalog")
