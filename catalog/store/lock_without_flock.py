"""The lock of a local folder whose file system has none: a file that is made only if there is none.

As in an object store (`catalog.store.compare_and_swap`), its holder writes it anew as long as it lives.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.store.object_store import Unreadable
from catalog.store.regular_files import open_to_read
from survey.process.atomic_write import open_new, replacement


def create_lock_file(path: Path, content: bytes) -> bool:
    """Write where there is nothing; False if there is something. Raises Unreadable."""
    with _explained():
        try:
            with open_new(path) as opened:
                opened.write(content)
        except FileExistsError:
            return False
    return True


def read(path: Path) -> tuple[bytes, float] | None:
    """The content and its age in seconds, or None. Raises Unreadable."""
    with _explained():
        try:
            with open_to_read(str(path)) as opened:
                content, written = opened.read(1 << 16), os.fstat(opened.fileno()).st_mtime
        except FileNotFoundError:
            return None
        return content, _now(path.parent) - written


def overwrite(path: Path, content: bytes) -> None:
    """Write it anew, whole. Raises Unreadable."""
    with _explained(), replacement(path) as temporary, open_new(temporary) as opened:
        opened.write(content)


def erase_lock_file(path: Path) -> None:
    """Remove it. Raises Unreadable."""
    with _explained():
        path.unlink(missing_ok=True)


def _now(folder: Path) -> float:
    """By the clock that writes the times of files, which may be a server's."""
    probe = folder / f".now.{secrets.token_hex(8)}.tmp"
    with open_new(probe) as opened:
        now = os.fstat(opened.fileno()).st_mtime
    probe.unlink()
    return now


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from error
