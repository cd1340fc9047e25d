"""Atomic writes: fill a temporary file beside the final name, then rename it.

The folder may belong to a stranger, who may have put a link under any name. A file that is written in one go
therefore has a temporary name that nobody can predict. A file that is resumed after a kill has a fixed
temporary name, so it must be a regular file with that one name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

NAME_BYTES = 255  # of a file name, on every file system that we know
_OPENED = "/proc/self/fd"
SHORT_NAME = 50  # characters of at most 4 bytes each: fits NAME_BYTES with what a temporary name adds


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file; a reader sees the old content or the new one. Raises OSError."""
    with open_atomically(path) as file:
        file.write(content)


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file that replaces `path` at the end of the block, or is removed. Raises OSError.

    It has no name until then if the file system allows it, so that a process that is killed leaves nothing.
    """
    nameless = _open_nameless(path.parent)
    if nameless is None:
        with replacement(path) as temporary, open_new(temporary) as file:
            yield file
            _write_through(file)
        return
    with nameless as file:
        yield file
        _write_through(file)
        with replacement(path) as temporary:
            _name(file.fileno(), temporary)


def _open_nameless(folder: Path) -> IO[bytes] | None:
    """A new file in the folder that has no name; None if this system or its file system has none such."""
    if not hasattr(os, "O_TMPFILE") or not os.path.exists(_OPENED):
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666), "wb")
    except OSError:  # network file systems know no such files; what else is wrong is said of the named one
        return None


def _name(descriptor: int, path: Path) -> None:
    """Give a nameless file its name, or copy it if the file system cannot do that. Raises OSError."""
    try:
        # With a folder's descriptor, even though it is not needed, Python follows the link in /proc.
        os.link(f"{_OPENED}/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        with os.fdopen(os.dup(descriptor), "rb") as source, open_new(path) as file:
            source.seek(0)
            shutil.copyfileobj(source, file)
            os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(descriptor).st_mode))
            _write_through(file)


def _write_through(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """The name of a new file beside `path`, to be written in the block.

    It replaces `path` at the end of the block; after an exception it is removed. Raises OSError.
    """
    temporary = _temporary_sibling(path)
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def finish_resumed(descriptor: int, temporary: Path, path: Path) -> None:
    """Sync the file that `open_to_resume` opened and give it its final name. Raises OSError."""
    os.fsync(descriptor)
    temporary.replace(path)


def open_new(path: Path) -> IO[bytes]:
    """Create a file and open it for writing. Raises OSError, FileExistsError also for a link."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "wb")


def open_to_resume(path: Path) -> int:
    """Open a file for reading and writing, and create it if it is missing; returns the descriptor.

    Raises OSError, also for anything but a regular file of this user's with a single name.
    """
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise OSError(errno.EINVAL, f"{path.name} exists and is not a file; remove it") from error
        raise
    if problem := _strange(os.fstat(descriptor)):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{path.name} {problem}; remove it")
    return descriptor


def _strange(status: os.stat_result) -> str | None:
    """Why a file is not one that this user left to be resumed; None if it may be."""
    if not stat.S_ISREG(status.st_mode):
        return "exists and is not a file"
    if status.st_nlink > 1:
        return "has a second name elsewhere"
    # In a shared folder, another user may have put it there, and may change it.
    return None if status.st_uid == os.geteuid() else f"belongs to user {status.st_uid}"


def _temporary_sibling(path: Path) -> Path:
    """A hidden name in the same folder that nobody can predict and that fits into NAME_BYTES."""
    hidden, suffix = f".{path.name.removeprefix('.')}", f".{secrets.token_hex(8)}.tmp"
    fits = len(os.fsencode(hidden + suffix)) <= NAME_BYTES
    return path.with_name((hidden if fits else hidden[:SHORT_NAME]) + suffix)
