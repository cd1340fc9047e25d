"""Temporary folders of processes that were killed: nobody else removes them, so the next process does."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

_OWNER = ".owner"  # locked as long as its process lives; the lock ends with the process, however that ends
NEW_S = 60.0  # a folder that is newer may not be locked yet


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """In the context, nobody takes the folder for one that was left behind."""
    file = os.open(folder / _OWNER, os.O_CREAT | os.O_RDWR, 0o600)  # processes that we start do not get it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)


def temporary_folder(owner: object, prefix: str) -> Path:
    """A new folder, readable by this user only, that is removed once its owner is collected.

    First removes those that killed processes left under this prefix. Raises OSError.
    """
    _remove_orphans_once(prefix)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(owned(folder))
        weakref.finalize(owner, stack.pop_all().close)
    return folder


@cache
def _remove_orphans_once(prefix: str) -> None:
    remove_orphans(Path(tempfile.gettempdir()), prefix)


def remove_orphans(parent: Path, prefix: str) -> None:
    """Remove the user's folders in `parent` whose process has ended. What cannot be removed stays."""
    for folder in parent.glob(f"{prefix}*"):
        try:
            status = folder.lstat()
            # Others may write to the parent: a link, or a folder of theirs, is left alone.
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                _remove_if_left(folder)
        except OSError:  # locked, gone, or without an owner: not known to be ours
            continue


def _remove_if_left(folder: Path) -> None:
    """Remove a folder unless its process lives. Raises OSError if it is not known to be one that was left."""
    file = os.open(folder / _OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if time.time() - os.fstat(file).st_mtime > NEW_S:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(file)
