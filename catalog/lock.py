"""One run at a time: a lock that the operating system lets go when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from catalog.place import Place
from survey.errors import CatalogInUse


@contextmanager
def held(place: Place) -> Iterator[None]:
    """Hold the catalog.

    Raises CatalogInUse where another run holds it, naming its process.
    """
    with (place.root / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise CatalogInUse(
                f"another run (process {holder}) holds {place.root}: wait for it, or use another --catalog"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
