"""One run at a time on a catalog.

In a local folder the operating system's lock, which it lets go when its holder dies. In an object
store a small object that is made only where there is none, refreshed while its holder lives, and
taken over where it has gone stale.
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

from catalog.conditional import Seen, create, erase, peek, replace
from catalog.local import LocalFolder
from catalog.place import Place
from catalog.remote import ObjectStore, Unreadable
from survey.errors import CatalogInUse, UsageError

LOCK = ".lock"
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


class Held:
    """A lock that is held, as far as its holder knows."""

    def __init__(self) -> None:
        self._lost = threading.Event()

    def lose(self) -> None:
        self._lost.set()

    @property
    def ours(self) -> bool:
        """False once another run took it over: nothing may be removed any more."""
        return not self._lost.is_set()


@contextmanager
def held(place: Place, run_id: str = "unknown") -> Iterator[Held]:
    """Hold the catalog.

    Raises CatalogInUse where another run holds it, naming its process; UsageError where the
    catalog cannot be written.
    """
    if isinstance(place, LocalFolder):
        with _flock(place, Holder(run_id)):
            yield Held()
        return
    with _object(place, Holder(run_id)) as lock:
        yield lock


@contextmanager
def _flock(place: LocalFolder, us: Holder) -> Iterator[None]:
    import fcntl

    with (place.root / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise _in_use(place, lock.read().strip() or "an unknown holder") from error
        lock.truncate(0)
        lock.write(str(us))
        lock.flush()
        yield


@contextmanager
def _object(store: ObjectStore, us: Holder) -> Iterator[Held]:
    try:
        _take(store, us)
    except Unreadable as error:
        raise UsageError(f"the catalog {store} cannot be written: {error}") from error
    lock, done = Held(), threading.Event()
    beat = threading.Thread(target=_refresh, args=(store, us, lock, done), daemon=True)
    beat.start()
    try:
        yield lock
    finally:
        done.set()
        beat.join()
        with contextlib.suppress(Unreadable):  # it goes stale by itself
            if lock.ours and _is_ours(peek(store, LOCK), us):
                erase(store, LOCK)


def _take(store: ObjectStore, us: Holder) -> None:
    """Make the lock, or take over a stale one. Raises CatalogInUse, Unreadable."""
    for _ in range(2):  # its holder may let go between our two looks
        if create(store, LOCK, us.to_json()):
            return
        seen = peek(store, LOCK)
        if seen is None:
            continue
        if _is_ours(seen, us):  # our PUT arrived, its answer did not
            return
        holder = _read(seen)
        if not _is_stale(seen, holder):
            raise _in_use(store, str(holder or "an unknown holder"))
        if replace(store, LOCK, us.to_json(), seen):
            return
    raise _in_use(store, "a run that began in this moment")


def _refresh(store: ObjectStore, us: Holder, lock: Held, done: threading.Event) -> None:
    """Refresh the lock until done; lose it where another took it, or where it cannot be reached."""
    refreshed = time.monotonic()
    while not done.wait(REFRESH_S):
        try:
            if not _refreshed(store, us):
                lock.lose()
                return
            refreshed = time.monotonic()
        except Unreadable:
            if time.monotonic() - refreshed > STALE_S:
                lock.lose()
                return


def _refreshed(store: ObjectStore, us: Holder) -> bool:
    """Write the lock anew; False where it is another's. Raises Unreadable."""
    seen = peek(store, LOCK)
    if seen is None or not _is_ours(seen, us):
        return False
    # One that is refused because its first answer was lost, and not the PUT, has left it ours.
    return replace(store, LOCK, us.to_json(), seen) or _is_ours(peek(store, LOCK), us)


def _is_ours(seen: Seen | None, us: Holder) -> bool:
    holder = _read(seen) if seen is not None else None
    return holder is not None and holder.token == us.token


def _is_stale(seen: Seen, holder: Holder | None) -> bool:
    if seen.age_s > STALE_S:
        return True
    return holder is not None and holder.machine == _machine() != "" and not _lives(holder.pid)


def _read(seen: Seen) -> Holder | None:
    try:
        return Holder(**json.loads(seen.content))
    except (ValueError, TypeError):
        return None


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


def _in_use(place: Place, holder: str) -> CatalogInUse:
    return CatalogInUse(f"another run ({holder}) holds {place}: wait for it, or use another --catalog")
