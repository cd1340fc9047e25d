"""A copy of an object of which it is certain that it holds the object's bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import IO

from catalog.files import File
from catalog.store.object_store_errors import Unreadable

COPY_BYTES = 1 << 24
_MD5 = re.compile(r"\b[0-9a-f]{32}\b(?!-)")  # the ETag of an object that was put in one request

ReadFileRange = Callable[[File, int, int], bytes]


def copy_verified(file: File, read_range: ReadFileRange, to: IO[bytes]) -> None:
    """Copy a file until its bytes have the MD5 that the store states, or come the same twice.

    read_range: bytes [start, stop) of the file. Raises Unreadable if two copies differ.
    """
    stated = _MD5.search(file.version)
    digests: list[str] = []
    while len(digests) < 2:
        to.seek(0)
        to.truncate()
        digests.append(_copy(file, read_range, to))
        if stated and digests[-1] == stated.group():
            return
    # The ETag of an encrypted object (SSE-KMS, SSE-C) looks like an MD5 and is not one.
    if digests[0] != digests[1]:
        raise Unreadable(f"{file.shown}: its bytes come with another checksum than the store's")


def _copy(file: File, read_range: ReadFileRange, to: IO[bytes]) -> str:
    """Copy a file; the MD5 of the bytes that came. Raises Unreadable."""
    digest = hashlib.md5(usedforsecurity=False)
    for start in range(0, file.size, COPY_BYTES):
        content = read_range(file, start, min(start + COPY_BYTES, file.size))
        digest.update(content)
        to.write(content)
    return digest.hexdigest()
