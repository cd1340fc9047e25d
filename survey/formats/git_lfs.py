"""Git LFS pointers: the few lines that a clone holds instead of a file that was not fetched."""

from __future__ import annotations

import re

from survey.errors import BrokenFile

POINTER = b"version https://git-lfs.github.com/spec/v1"
POINTER_BYTES = 1024  # of a pointer: the specification's own limit
_SIZE = re.compile(rb"^size ([0-9]{1,18})$", re.MULTILINE)


def refuse_pointer(start: bytes, reason: str, where: str) -> None:
    """Raise BrokenFile (`reason`) if a file begins as a pointer does. start: its first bytes."""
    if not start.startswith(POINTER):
        return
    size = _SIZE.search(start[:POINTER_BYTES])
    of = f" of {int(size[1]):,} bytes" if size else ""
    problem = f"is a Git LFS pointer, not the file{of} itself"
    raise BrokenFile(reason, where, problem, "fetch it with `git lfs pull`")
