"""One shared answer to a busy server: when it asks to slow down, everybody waits.

The Hub counts requests by user, not by connection: whoever is told to wait tells the others.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Protocol


class Throttle(Protocol):
    """Asked before each request, and told of every answer that says wait."""

    def wait(self, limit_s: float = math.inf) -> None:
        """Return when a request may be made, or after `limit_s` seconds."""

    def pause(self, seconds: float) -> None:
        """Let nobody ask for so long."""


class LocalThrottle:
    """The pace of one process, shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, limit_s: float = math.inf) -> None:
        until = time.monotonic() + limit_s
        while (left_s := min(self.left_s(), until - time.monotonic())) > 0:
            time.sleep(left_s)

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds until a request may be made."""
        with self._lock:
            return self._free_at - time.monotonic()
