"""A limit of this process's memory, for subprocesses that do what strangers ask."""

from __future__ import annotations

import contextlib


def limit_memory(megabytes: int) -> None:
    """From now on an allocation beyond it fails; nothing happens if the system has no such limit."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        limit = megabytes << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
