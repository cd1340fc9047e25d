"""The link to the local Hub: its latency and rates, and the state that both servers share."""

import time
from dataclasses import dataclass
from threading import Event, Lock
from typing import Protocol

from jobs.demo.hub.faults import Fault
from jobs.demo.hub.request import LoggedRequest


@dataclass(frozen=True)
class ReplyShape:
    """The link: delay before each first byte, bytes per second per connection and of the whole CDN."""

    latency_s: float = 0.0
    connection_bytes_s: float | None = None
    total_bytes_s: float | None = None


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
