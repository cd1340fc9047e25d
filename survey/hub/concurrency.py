"""How many connections read at once: few where few fill the link, more where each is capped.

Nobody says what a link can do, so it is tried: the number is doubled, and kept where the bytes then come
faster. A link of 2.5 Gbit/s is full with four connections, of which more would only take CPU time from the
measuring; where the storage grants 100 Mbit/s to each, sixteen bring four times as much. Where bytes come so
slowly that nobody misses that CPU time, all are tried at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST = 4
ROUND_S = 0.25  # of bytes that are counted before the number is judged
WARM_UP_S = 0.1  # not counted: new connections are being opened
# Of what twice as many connections could bring at best, how much they must bring. Half of it would be missed
# by a link that is shared with others, a tenth is noise.
PAYS = 0.3
SLOW_BYTES_S = 100e6  # receiving them takes a thirtieth of a CPU
RETRY_ROUNDS = 8  # after which a number that did not pay is tried again; then twice as many


@dataclass(frozen=True, slots=True)
class FixedLimit:
    """Always as many at once."""

    now: int

    @property
    def most(self) -> int:
        return self.now


class AdaptiveLimit:
    """`now` follows the link, up to `most`. Told of bytes by many threads, read by one."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.now, self.most = min(FIRST, most), most
        self._clock, self._lock = clock, threading.Lock()
        self._begun, self._bytes = clock() + WARM_UP_S, 0
        self._before: tuple[int, float] | None = None  # the number that was doubled, and its bytes a second
        self._rounds_left, self._patience = 0, RETRY_ROUNDS

    def add(self, count: int) -> None:
        """So many bytes have come."""
        if self.most <= FIRST:
            return
        with self._lock:
            now = self._clock()
            if now < self._begun:
                return
            self._bytes += count
            if now - self._begun >= ROUND_S:
                self._judge(self._bytes / (now - self._begun))
                self._begun, self._bytes = self._clock() + (WARM_UP_S if self._before else 0.0), 0

    def _judge(self, bytes_s: float) -> None:
        if self._before is not None:
            number, rate = self._before
            self._before = None
            if bytes_s < rate * (1 + PAYS * min(self.now / number - 1, 1)):
                self.now = number
                self._rounds_left = self._patience
                self._patience *= 2
        if self._rounds_left > 0:
            self._rounds_left -= 1
        elif self.now < self.most:
            self._before = self.now, bytes_s
            self.now = self.most if bytes_s < SLOW_BYTES_S else min(2 * self.now, self.most)
