"""Files that are written beside their name, in folders where a stranger may have put a link under any name.

What is written in one go gets a name that nobody can know before. What is resumed keeps its name, so
it must be a file of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

MOST_NAME = 50  # characters, of 4 bytes or fewer: with what is added a name has 255 bytes at most


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, then rename: who reads meanwhile sees the old file or the new one. Raises OSError."""
    beside = path.with_name(f".{path.name[:MOST_NAME]}.{secrets.token_hex(8)}.tmp")
    handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def open_to_resume(path: Path) -> int:
    """A descriptor of a file that is made if it is missing, to read and to write. Raises OSError."""
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise OSError(errno.EINVAL, f"{path.name} is there and no file; remove it") from error
        raise
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(handle)
        kind = "has a second name elsewhere" if stat.S_ISREG(found.st_mode) else "is there and no file"
        raise OSError(errno.EINVAL, f"{path.name} {kind}; remove it")
    return handle
