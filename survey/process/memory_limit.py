"""Limits of this process's memory, while it does what strangers ask."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from survey.process.machine import memory_bytes
from survey.process.ulimits import process_memory_bytes, unused_memory_bytes

_MOST = 0.75  # of the memory that this process may use
_SPARE_BYTES = 64 << 20  # for what a library allocates that crashes if it cannot


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


def spare_memory() -> Callable[[], None]:
    """What to call between steps that allocate: raises MemoryError if only a little memory is left.

    DuckDB's allocator keeps addresses of memory that it gave back, and they count: after a statement that
    took all there may be little from the start. Then half of that is spared.
    """
    unused = unused_memory_bytes()
    spare_bytes = 0 if unused is None else min(_SPARE_BYTES, unused // 2)

    def refuse() -> None:
        left = unused_memory_bytes()
        if left is not None and left < spare_bytes:
            raise MemoryError

    return refuse
