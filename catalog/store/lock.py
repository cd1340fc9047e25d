"""One run at a time on a catalog.

In a local folder, a lock of the operating system, which releases it when the holder dies. In an object
store, and in a folder whose file system has no locks, a small object: created only if there is none,
refreshed while its holder lives, and taken over once it is stale; the operations on it are in
`compare_and_swap.py` (which takes those on a file from `lock_file.py`).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from catalog.store.compare_and_swap import create_object, erase_object, peek, replace
from catalog.store.local import LocalFolder
from catalog.store.lock_holder import Holder, holder_text, is_held_by, is_stale
from catalog.store.object_store_errors import Unreadable
from catalog.store.open import CatalogStore
from catalog.store.regular_files import UNSUPPORTED, NotRegular, open_lock
from survey.errors import CatalogInUse, UsageError, printable

LOCK = ".lock"
LOCK_FILE = ".lock-held"  # in a folder without locks, as .lock exists there all the time
REFRESH_S = 60.0
STALE_S = 600.0  # without a refresh for so long, the holder is dead or cut off


class Lock:
    """A lock on a catalog, ours as far as is known. note: what a person should know of it."""

    def __init__(self, note: str = "") -> None:
        self._lost = threading.Event()
        self.note = note

    def lose(self) -> None:
        """Note that another run may have taken it over."""
        self._lost.set()

    @property
    def ours(self) -> bool:
        """False once another run may hold the catalog: nothing may be removed any more."""
        return not self._lost.is_set()


@contextmanager
def catalog_lock(store: CatalogStore, run_id: str = "unknown") -> Iterator[Lock]:
    """Hold the catalog.

    Raises CatalogInUse if another run holds it, naming its process; UsageError if the catalog cannot be
    written.
    """
    if isinstance(store, LocalFolder):
        with _local(store, Holder(run_id)) as lock:
            yield lock
    else:
        with _object(store, LOCK, Holder(run_id)) as lock:
            if not store.conditional_writes.honoured:
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
            _write_holder(handle, us)
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
    """See that no host whose mount has no locks holds the catalog. Raises CatalogInUse, UsageError."""
    try:
        lock = peek(store, LOCK_FILE) if (store.root / LOCK_FILE).exists() else None
    except Unreadable as error:
        raise UsageError(_unwritable(store, f"{LOCK_FILE}: {error}")) from error
    if lock is not None and not is_stale(lock, STALE_S):
        raise _in_use(store, holder_text(lock))


def _write_holder(handle: int, us: Holder) -> None:
    """Name the holder, for those who wait. That it cannot be written, on a full disk say, does no harm."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(us).encode(), 0)


def _unwritable(store: CatalogStore, problem: str) -> str:
    return f"the catalog {store} cannot be written: {problem}. Mend that, or name another with --catalog"


@contextmanager
def _object(store: CatalogStore, name: str, us: Holder) -> Iterator[Lock]:
    try:
        _take(store, name, us)
    except Unreadable as error:
        raise UsageError(f"the catalog {store} cannot be written: {error}") from error
    lock, done = Lock(), threading.Event()
    heartbeat = threading.Thread(target=_refresh, args=(store, name, us, lock, done), daemon=True)
    heartbeat.start()
    try:
        yield lock
    finally:
        done.set()
        heartbeat.join()
        with contextlib.suppress(Unreadable):  # it will be stale
            if lock.ours and is_held_by(peek(store, name), us):
                erase_object(store, name)


def _take(store: CatalogStore, name: str, us: Holder) -> None:
    """Create the lock, or take over a stale one. Raises CatalogInUse, Unreadable."""
    for _ in range(2):  # the holder may release it between our two reads
        if create_object(store, name, us.to_json()):
            return
        lock = peek(store, name)
        if lock is None:
            continue
        if is_held_by(lock, us):  # our PUT arrived, its answer did not
            return
        if not is_stale(lock, STALE_S):
            raise _in_use(store, holder_text(lock))
        if replace(store, name, us.to_json(), lock):
            return
    raise _in_use(store, "a run that began in this moment")


def _refresh(store: CatalogStore, name: str, us: Holder, lock: Lock, done: threading.Event) -> None:
    """Refresh the lock until done; lose it if another run took it, or if it was out of reach too long."""
    refreshed = time.monotonic()
    while not done.wait(REFRESH_S):
        try:
            if not _refresh_once(store, name, us):
                lock.lose()
                return
            refreshed = time.monotonic()
        except Unreadable:
            if time.monotonic() - refreshed > STALE_S:
                lock.lose()
                return


def _refresh_once(store: CatalogStore, name: str, us: Holder) -> bool:
    """Write the lock anew; False if it is another run's. Raises Unreadable."""
    lock = peek(store, name)
    if lock is None or not is_held_by(lock, us):
        return False
    # A retry is refused if the first PUT arrived and its answer did not: then the lock is still ours.
    return replace(store, name, us.to_json(), lock) or is_held_by(peek(store, name), us)


def _in_use(store: CatalogStore, holder: str) -> CatalogInUse:
    # In one line: others may write the lock, and what follows a line break would look like ours.
    problem = f"another run ({printable(holder)}) holds {store}: wait for it, or use another --catalog"
    return CatalogInUse(problem)
