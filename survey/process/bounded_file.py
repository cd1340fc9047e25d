"""Files of others, read without waiting for anybody and never beyond a cap.

A downloaded folder can hold a pipe, a link to a device, a sparse file of a terabyte, or a link to a file of
the kernel's such as /proc/kmsg, which counts as a regular file and lets its reader wait for ever.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path


def open_regular(path: Path) -> FileIO:
    """Open a file unbuffered; reading it never waits for anybody. Raises OSError if it is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return FileIO(descriptor, "rb")


def read_at(path: Path, start: int, count: int) -> bytes:
    """At most `count` bytes of a regular file from `start`, none after its stated size. Raises OSError.

    A file of the kernel's has the stated size 0.
    """
    content = bytearray()
    with open_regular(path) as opened:
        left = min(count, os.fstat(opened.fileno()).st_size - start)
        opened.seek(start)
        while left > 0 and (part := opened.read(left)):
            content += part
            left -= len(part)
    return bytes(content)


def read_regular(path: Path, cap_bytes: int) -> bytes:
    """The content of a regular file. Raises OSError, also if it is larger than the cap."""
    return _refuse_more(read_at(path, 0, cap_bytes + 1), path, cap_bytes)


def read_named(path: Path, cap_bytes: int) -> bytes:
    """The content of a file that the user named, which may be a pipe. Raises OSError as `read_regular`."""
    if not path.is_file():
        with open(path, "rb") as opened:
            return _refuse_more(opened.read(cap_bytes + 1), path, cap_bytes)
    return read_regular(path, cap_bytes)


def _refuse_more(content: bytes, path: Path, cap_bytes: int) -> bytes:
    if len(content) > cap_bytes:
        raise OSError(errno.EFBIG, f"is larger than {cap_bytes:,} bytes", str(path))
    return content
