"""The operations on the lock file of a folder whose file system has no locks: create, read, overwrite, erase.

The rule of the lock (who takes, refreshes and takes over) is in `catalog/store/lock.py`, by way of
`compare_and_swap.py`, as for an object store.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.store.object_store_errors import Unreadable
from catalog.store.regular_files import open_to_read
from survey.process.atomic_write import open_new, replacement

CLOCK_PROBES = ".now.*.tmp"
MAX_BYTES = 1 << 16  # of what is read of a lock, which has 300 bytes


def create_lock_file(path: Path, content: bytes) -> bool:
    """Create the file; False if it exists. Raises Unreadable."""
    with _as_unreadable():
        try:
            with open_new(path) as opened:
                opened.write(content)
        except FileExistsError:
            return False
    return True


def read(path: Path) -> tuple[bytes, float] | None:
    """The content and its age in seconds; None if there is no file. Raises Unreadable."""
    with _as_unreadable():
        try:
            with open_to_read(str(path)) as opened:
                content, written = opened.read(MAX_BYTES), os.fstat(opened.fileno()).st_mtime
        except FileNotFoundError:
            return None
        return content, _now(path.parent) - written


def overwrite(path: Path, content: bytes) -> None:
    """Replace the file as a whole. Raises Unreadable."""
    with _as_unreadable(), replacement(path) as temporary, open_new(temporary) as opened:
        opened.write(content)


def erase_lock_file(path: Path) -> None:
    """Remove the file. Raises Unreadable."""
    with _as_unreadable():
        path.unlink(missing_ok=True)


def _now(folder: Path) -> float:
    """The time by the clock that stamps files, which may be a server's."""
    probe = folder / f".now.{secrets.token_hex(8)}.tmp"
    with open_new(probe) as opened:
        now = os.fstat(opened.fileno()).st_mtime
    probe.unlink(missing_ok=True)  # another run may sweep it away
    return now


@contextmanager
def _as_unreadable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
