"""How requests to the Hub behave: patience, a common pace, deadlines, what they cost.

What connections and answers fail with ends here (`survey/hub/errors.py` puts it in words); what goes further
is ours.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import httpx2

from survey.errors import NoHub, Unreachable
from survey.hub.access import endpoint_name, origin_of
from survey.hub.connect import NotConnected
from survey.hub.connections import RequestLimits, TooLong, connection_pool
from survey.hub.errors import FAILURES, is_retryable, retry_after_s, translate
from survey.hub.throttle import LocalThrottle, Throttle
from survey.records.settings import Settings
from survey.records.target import Traffic

TIMEOUT = httpx2.Timeout(10.0, read=30.0, pool=None)
# A request for few bytes that takes longer never ends; where more are expected, a link may be slow.
REQUEST_S = 60.0
SLOWEST_BYTES_S = 100_000
FIRST_TRIES = 2  # of an endpoint that never answered: most likely it is not there

_T = TypeVar("_T")


class TrafficCounter:
    """Traffic, added to from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = Traffic()

    def add(self, *, bytes: int = 0, requests: int = 0, retries: int = 0) -> None:
        with self._lock:
            self.total += Traffic(bytes, requests, retries)


class RequestPolicy:
    """How one model's requests behave: patience, a common pace, a deadline, and what they cost."""

    def __init__(
        self, settings: Settings, pace: Throttle | None = None, limit_s: float | None = None
    ) -> None:
        self.patience, self.pace, self.counter = settings.patience, pace or LocalThrottle(), TrafficCounter()
        self._settings = settings
        self._limit_s = limit_s if limit_s is not None else settings.timeout_s
        self._until = time.monotonic() + self._limit_s

    def left_s(self, where: str) -> float:
        """Seconds until the deadline.

        Raises Unreachable (`timeout`) where it has passed.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise Unreachable("timeout", where, f"not finished after {self._limit_s:.0f} s")
        return left

    def limits(self, where: str, expected_bytes: int | None = 0) -> RequestLimits:
        """What a request for so many bytes may take; of None, all the time that is left."""
        left = self.left_s(where)
        if expected_bytes is not None:
            left = min(left, REQUEST_S + expected_bytes / SLOWEST_BYTES_S)
        return RequestLimits(TIMEOUT.connect or left, TIMEOUT.read or left, time.monotonic() + left)

    def patiently(self, call: Callable[[], _T], where: str, *, longest_s: float | None = None) -> _T:
        """One small request, made again while the server is busy or out of reach.

        longest_s: a server that asks to wait longer is not waited for.
        """
        for attempt in itertools.count(1):
            self.pace.wait(self.left_s(where))
            self.left_s(where)
            try:
                return call()
            except (*FAILURES, Unreachable) as error:
                self.give_up(error, attempt, where)
                if longest_s is not None and (retry_after_s(error) or 0.0) > longest_s:
                    translate(error, where, self._settings)
                self.counter.add(retries=1)
                wait_s = self.wait_s(attempt, error, where)
            time.sleep(wait_s)
        raise AssertionError("an endless loop returns or raises")

    def give_up(self, error: Exception, failures: int, where: str) -> None:
        """Raise what a failure amounts to, unless it is worth another try."""
        self.left_s(where)
        if isinstance(error, TooLong):
            raise Unreachable("timeout", where, "the answer did not end in time; the server sends too slowly")
        tries = self.patience.tries
        if isinstance(error, NotConnected):
            is_hub = error.origin == origin_of(self._settings.endpoint)
            if is_hub and error.origin not in connection_pool().answered:
                tries = min(tries, FIRST_TRIES)
            if is_hub and (error.permanent or failures >= tries) and tries <= FIRST_TRIES:
                raise NoHub("network", endpoint_name(self._settings.endpoint), error.problem) from error
        if failures >= tries or not is_retryable(error):
            translate(error, where, self._settings)

    def wait_s(self, failures: int, error: Exception, where: str) -> float:
        """How long to wait after a failure; where the server says so, everybody waits.

        Raises where that would be longer than there is time.
        """
        asked_s, left_s = retry_after_s(error), self.left_s(where)
        wait_s = self.patience.wait_s(failures, asked_s)
        if asked_s is not None:
            if wait_s > left_s:
                translate(error, where, self._settings)
            self.pace.pause(wait_s)
        return min(wait_s, left_s)
