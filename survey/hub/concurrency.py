"""How many connections read at once: double the number, keep the doubled number if it pays.

A link's capacity is unknown, so it is measured. A link of 2.5 Gbit/s is full with four connections; more
would only take CPU time from the measures. If the storage grants 100 Mbit/s to each connection, sixteen bring
four times as many bytes. If bytes come so slowly that their CPU time does not matter, the maximum is tried at
once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST = 4
ROUND_S = 0.25  # bytes are counted for so long before the number is judged
WARM_UP_S = 0.1  # not counted: new connections are being opened
# The least gain that keeps a doubled number, as a share of the gain at best. 0.5 would stop too early on a
# shared link; 0.1 is within the noise.
MIN_GAIN = 0.3
SLOW_BYTES_S = 100e6  # receiving them takes a thirtieth of a CPU
PAUSE_ROUNDS = 8  # before a number that did not pay is tried again; doubled each time


@dataclass(frozen=True, slots=True)
class FixedLimit:
    """A number of connections that never changes."""

    current: int

    @property
    def maximum(self) -> int:
        return self.current


@dataclass(frozen=True, slots=True)
class _Trial:
    """The number of connections before it was raised, and the rate that it reached."""

    connections: int
    bytes_s: float

    def pays(self, connections: int, bytes_s: float) -> bool:
        """Whether the raised number brings enough more: at best, twice the connections bring twice."""
        best_gain = min(connections / self.connections - 1, 1)
        return bytes_s >= self.bytes_s * (1 + MIN_GAIN * best_gain)


class AdaptiveLimit:
    """A number of connections, `current`, that follows the link, up to `maximum`.

    Many threads record bytes; one reads the number.
    """

    def __init__(self, maximum: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.current, self.maximum = min(FIRST, maximum), maximum
        self._clock, self._lock = clock, threading.Lock()
        self._round_start, self._bytes = clock() + WARM_UP_S, 0
        self._trial: _Trial | None = None
        self._pause, self._next_pause = 0, PAUSE_ROUNDS  # in rounds

    def add(self, count: int) -> None:
        """Record `count` received bytes."""
        if self.maximum <= FIRST:
            return
        with self._lock:
            elapsed_s = self._clock() - self._round_start
            if elapsed_s < 0:
                return
            self._bytes += count
            if elapsed_s >= ROUND_S:
                self._judge(self._bytes / elapsed_s)
                self._round_start, self._bytes = self._clock() + (WARM_UP_S if self._trial else 0.0), 0

    def _judge(self, bytes_s: float) -> None:
        """At the end of a round: keep the raised number if it paid, then raise it again."""
        trial, self._trial = self._trial, None
        if trial is not None and not trial.pays(self.current, bytes_s):
            self.current = trial.connections
            self._pause, self._next_pause = self._next_pause, 2 * self._next_pause
        if self._pause > 0:
            self._pause -= 1
        elif self.current < self.maximum:
            self._trial = _Trial(self.current, bytes_s)
            self.current = self.maximum if bytes_s < SLOW_BYTES_S else min(2 * self.current, self.maximum)
