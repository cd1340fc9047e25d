"""A throttle: if the server asks one request to wait, all requests wait.

The Hub counts requests by user, not by connection.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Protocol


class Throttle(Protocol):
    """Waits before each request, and is paused by every answer that says wait."""

    def wait(self, limit_s: float = math.inf) -> None:
        """Return when a request may be made, or after `limit_s` seconds."""

    def pause(self, seconds: float) -> None:
        """Block all requests for `seconds`."""


class LocalThrottle:
    """The throttle of one process, shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paused_until = 0.0

    def wait(self, limit_s: float = math.inf) -> None:
        deadline = time.monotonic() + limit_s
        while (left_s := min(self.left_s(), deadline - time.monotonic())) > 0:
            time.sleep(left_s)

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds until a request may be made."""
        with self._lock:
            return self._paused_until - time.monotonic()
