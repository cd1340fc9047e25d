"""The holder of a catalog's lock: what the lock says of it, and whether it still lives."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from catalog.store.compare_and_swap import ObjectVersion

_MOST_CHARS = 300  # of a host's name, and of every other text of ours


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a catalog. machine: the one that its `pid` refers to; empty if unknown."""

    run_id: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    machine: str = field(default_factory=lambda: machine_id())
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    taken_at: str = field(default_factory=lambda: _now())
    refreshed_at: str = ""

    def to_json(self) -> bytes:
        """The content of a lock written now. Each refresh changes it, so a replacement is noticed."""
        return json.dumps(asdict(dataclasses.replace(self, refreshed_at=_now()))).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, run {self.run_id}, since {self.taken_at}"


def holder_of(lock: ObjectVersion) -> Holder | None:
    """The holder that a lock names; None if its content is not one that we wrote."""
    try:
        holder = Holder(**json.loads(lock.content))
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (holder.run_id, holder.host, holder.machine, holder.token, holder.taken_at, holder.refreshed_at)
    is_pid = type(holder.pid) is int and 0 < holder.pid < 1 << 31
    are_texts = all(isinstance(text, str) and len(text) <= _MOST_CHARS for text in texts)
    return holder if is_pid and are_texts else None


def holder_text(lock: ObjectVersion) -> str:
    """The holder for a person."""
    return str(holder_of(lock) or "an unknown holder")


def is_held_by(lock: ObjectVersion | None, us: Holder) -> bool:
    """Whether a lock is ours."""
    holder = holder_of(lock) if lock is not None else None
    return holder is not None and holder.token == us.token


def is_stale(lock: ObjectVersion, stale_s: float) -> bool:
    """Whether a lock may be taken over: it is older than `stale_s`, or its process here has ended."""
    if lock.age_s > stale_s:
        return True
    holder = holder_of(lock)
    return holder is not None and holder.machine == machine_id() != "" and not _is_alive(holder.pid)


def machine_id() -> str:
    """This boot of this machine and its namespace of processes; empty if the system is not Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists, and belongs to another user
        return True
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
