"""What the two servers of the local Hub share: the shape of the link, requests, and their log."""

import time
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Protocol

from jobs.demo.hub.faults import Fault, ServerName


@dataclass(frozen=True)
class ReplyShape:
    """The link: delay before each first byte, bytes per second per connection and of the whole CDN."""

    latency_s: float = 0.0
    connection_bytes_s: float | None = None
    total_bytes_s: float | None = None


@dataclass(slots=True)
class LoggedRequest:
    """One request; `path` without percent-encoding, `headers` lower-case, without Authorization."""

    server: ServerName
    method: str
    path: str
    query: dict[str, list[str]]
    range: str | None
    authorization: bool
    status: int
    sent_bytes: int = 0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that an answer depends on; `segments` are the decoded parts of `raw_path`."""

    method: str
    raw_path: str
    segments: tuple[str, ...]
    query: dict[str, list[str]]
    authorization: str | None
    body: bytes


class Host(Protocol):
    """The state that both servers share; its lists may be replaced while they run."""

    faults: list[Fault]
    log: list[LoggedRequest]
    shape: ReplyShape
    closing: Event


class Meter:
    """A schedule of bytes at a given rate, for one connection or shared by many."""

    _SLACK_S = 0.05  # a sender that is late by less catches up; a later one was idle

    def __init__(self) -> None:
        self._lock = Lock()
        self._due = 0.0

    def reserve(self, count: int, bytes_s: float) -> float:
        """The monotonic time at which `count` more bytes have passed."""
        with self._lock:
            now = time.monotonic()
            start = self._due if now - self._due < self._SLACK_S else now
            self._due = start + count / bytes_s
            return self._due
