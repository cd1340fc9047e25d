"""Open files in a folder to which others may write: only regular files, none through a planted link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import IO

from catalog.files import MAX_FOOTER_BYTES, End, NoEnd, is_tail_whole, too_long

PIECE_BYTES = 1 << 20
TAIL_BYTES = 1 << 15  # holds the footer of a row file, 20 kB
# Without O_NONBLOCK, opening a FIFO waits for its other end. A system without a flag has no need of it.
_SAFE_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
# Errors of a file system that lacks a call.
UNSUPPORTED = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK))
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


class NotRegular(OSError):
    """A link, a folder, a FIFO, a socket or a device instead of a file."""


def open_lock(path: Path) -> int:
    """A descriptor of a lock file, created if it is missing; read-only if it is another user's.

    Whoever may read the file can hold the lock: so that is only who may write to its folder. Raises OSError.
    """
    flags = os.O_CREAT | os.O_RDWR | _NO_LINK | _SAFE_FLAGS
    mode = _mode_of_writers(path.parent)
    try:
        handle = _regular(os.open(path, flags, mode), path, links=1)
        if os.fstat(handle).st_uid == os.geteuid():  # earlier versions let everybody read it
            with contextlib.suppress(OSError):
                os.fchmod(handle, os.fstat(handle).st_mode & mode)
        return handle
    except PermissionError:
        return _regular(os.open(path, os.O_RDONLY | _NO_LINK | _SAFE_FLAGS), path, links=1)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise NotRegular(errno.EINVAL, _kind_at(path)) from error
        raise


def _mode_of_writers(folder: Path) -> int:
    """The mode of a file for those who may write to its folder. Raises OSError."""
    writers = os.stat(folder).st_mode & 0o022
    return 0o600 | writers | writers << 1


def open_to_read(path: str) -> IO[bytes]:
    """Open a regular file; a link to one is followed. Raises OSError."""
    return os.fdopen(descriptor_to_read(path), "rb")


def descriptor_to_read(path: str) -> int:
    """The same without Python's file object, which costs more than reading a small file. Raises OSError."""
    return _regular(os.open(path, os.O_RDONLY | _SAFE_FLAGS), path)


def copy_data(opened: IO[bytes], to: IO[bytes]) -> None:
    """Copy a file and keep its holes: a sparse file of a terabyte must fit into the temporary folder.

    Raises OSError.
    """
    handle = opened.fileno()
    size = os.fstat(handle).st_size
    at = 0
    while at < size:
        try:
            start = os.lseek(handle, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end of the file
                break
            raise
        at = os.lseek(handle, start, os.SEEK_HOLE)
        to.seek(start)
        while start < at:
            piece = os.pread(handle, min(PIECE_BYTES, at - start), start)
            if not piece:
                break
            to.write(piece)
            start += len(piece)
    to.truncate(size)


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, if the file system can. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # CIFS, VirtualBox and some FUSE file systems cannot sync a folder
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def end_of(path: str) -> End | NoEnd:
    """The end of a file, with its footer."""
    try:  # without `open` and its objects: 1,000 files take 15 ms
        handle = descriptor_to_read(path)
        try:
            return _end_of(handle)
        finally:
            os.close(handle)
    except FileNotFoundError:
        if os.path.lexists(path):
            return NoEnd("a link to nothing", foreign=True)
        return NoEnd("gone", gone=True)
    except NotRegular as error:
        return NoEnd(str(error.strerror), foreign=True)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP):
            return NoEnd(_kind_at(path), foreign=True)
        return NoEnd(f"cannot be read: {error.strerror}")


def _end_of(handle: int) -> End | NoEnd:
    size = os.fstat(handle).st_size
    tail = os.pread(handle, TAIL_BYTES, max(0, size - TAIL_BYTES))
    if os.pread(handle, 4, 0) != b"PAR1" or not is_tail_whole(tail, size):
        return End(None)
    footer_bytes = int.from_bytes(tail[-8:-4], "little")
    if footer_bytes + 8 <= len(tail):
        return End(tail[-8 - footer_bytes : -8])
    if footer_bytes > MAX_FOOTER_BYTES:
        return too_long(footer_bytes)
    return End(os.pread(handle, footer_bytes, size - 8 - footer_bytes))


def _regular(handle: int, path: str | Path, links: int | None = None) -> int:
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise NotRegular(errno.EINVAL, _kind_at(path))
    if links is not None and status.st_nlink > links:
        os.close(handle)
        raise NotRegular(errno.EMLINK, "a file that has a second name elsewhere")
    return handle


def _kind_at(path: str | Path) -> str:
    """The kind of thing that has the path of a file."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return "not a file"
    kinds = (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "a device") + ", expected a file"
