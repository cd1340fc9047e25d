"""Limits of this process's memory, while it does what strangers ask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from survey.process.machine import memory_bytes
from survey.process.ulimits import process_memory_bytes

_MOST = 0.75  # of the memory that this process may use


def limit_memory(megabytes: int) -> None:
    """From now on an allocation beyond it fails; nothing happens if the system has no such limit."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limit = megabytes << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """In the block, an allocation beyond most of the memory fails before the system has none left.

    A limit that this process already has stays as it is.
    """
    if process_memory_bytes() is not None:
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes() * _MOST), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
