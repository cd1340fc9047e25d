"""Limits of this process's memory, while it does what strangers ask."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from survey.process.machine import memory_bytes
from survey.process.ulimits import process_memory_bytes, unused_memory_bytes

_MOST = 0.75  # of the memory that this process may use
_LEAST_BYTES = 300_000_000  # that a command needs besides stacks (see `ulimits.py`)
_STACK_BYTES = 8 << 20  # of a thread, at most, if no limit says so
_SPARE_BYTES = 64 << 20  # for what a library allocates that crashes if it cannot


def limit_memory(megabytes: int) -> None:
    """From now on an allocation beyond it fails; nothing happens if the system has no such limit.

    The stacks of as many threads as there are CPUs fit in besides.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limit = (megabytes << 20) + _stack_bytes()
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
    most = max(int(memory_bytes() * _MOST), _LEAST_BYTES + _stack_bytes())
    resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _stack_bytes() -> int:
    """What the stacks of DuckDB's threads and of Arrow's count against a limit; little of it is ever used.

    Both start one for each CPU of the machine, also in a container that has little of its memory.
    """
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return 2 * (os.cpu_count() or 1) * (_STACK_BYTES if soft == resource.RLIM_INFINITY else soft)


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
