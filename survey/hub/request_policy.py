"""The request policy of one model: retries, throttle, deadlines, and the traffic that they cause.

Errors of connections and responses end here: `survey/hub/errors.py` translates them into ours.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import httpx2

from survey.errors import NoHub, Unreachable
from survey.hub.access import endpoint_name
from survey.hub.errors import FAILURES, translate
from survey.hub.retries import is_retryable, retry_after_s
from survey.hub.throttle import LocalThrottle, Throttle
from survey.hub.transport.connections import connection_pool
from survey.hub.transport.limits import RequestLimits, TooLong
from survey.hub.transport.origins import origin_of
from survey.hub.transport.sockets import NotConnected
from survey.records.settings import Settings
from survey.records.target import Traffic

TIMEOUT = httpx2.Timeout(10.0, read=30.0, pool=None)
# A request for few bytes that takes longer never ends; if more are expected, a link may be slow.
REQUEST_S = 60.0
SLOWEST_BYTES_S = 100_000
FIRST_TRIES = 2  # of an endpoint that never answered: most likely there is none

_T = TypeVar("_T")


class TrafficCounter:
    """The traffic of several threads, in one sum."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = Traffic()

    def add(self, *, bytes: int = 0, requests: int = 0, retries: int = 0) -> None:
        with self._lock:
            self.total += Traffic(bytes, requests, retries)


class RequestPolicy:
    """Retry, throttling and deadline policy of one model's requests, and the traffic they cause."""

    def __init__(
        self, settings: Settings, throttle: Throttle | None = None, limit_s: float | None = None
    ) -> None:
        self.throttle, self.counter = throttle or LocalThrottle(), TrafficCounter()
        self._settings, self._retry_policy = settings, settings.retry_policy
        self._limit_s = limit_s if limit_s is not None else settings.timeout_s
        self._deadline = time.monotonic() + self._limit_s

    def left_s(self, where: str) -> float:
        """Seconds until the deadline. Raises Unreachable (`timeout`) if it has passed."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise Unreachable("timeout", where, f"not finished after {self._limit_s:.0f} s")
        return left_s

    def limits(self, where: str, expected_bytes: int | None = 0) -> RequestLimits:
        """The limits of a request for so many bytes; for None, all the time that is left."""
        left_s = self.left_s(where)
        if expected_bytes is not None:
            left_s = min(left_s, REQUEST_S + expected_bytes / SLOWEST_BYTES_S)
        return RequestLimits(TIMEOUT.connect or left_s, TIMEOUT.read or left_s, time.monotonic() + left_s)

    def with_retries(self, call: Callable[[], _T], where: str, *, longest_s: float | None = None) -> _T:
        """Make one small request, and retry it while the server is busy or out of reach.

        longest_s: give up if the server asks for a longer wait. Raises SurveyError.
        """
        for attempt in itertools.count(1):
            self.throttle.wait(self.left_s(where))
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
        """Raise a failure as a SurveyError, unless it may be retried."""
        self.left_s(where)
        if isinstance(error, TooLong):
            raise Unreachable("timeout", where, "the answer did not end in time; the server sends too slowly")
        tries = self._retry_policy.tries
        if isinstance(error, NotConnected):
            is_hub = error.origin == origin_of(self._settings.endpoint)
            if is_hub and error.origin not in connection_pool().responsive:
                tries = min(tries, FIRST_TRIES)
            if is_hub and (error.permanent or failures >= tries) and tries <= FIRST_TRIES:
                raise NoHub("network", endpoint_name(self._settings.endpoint), error.problem) from error
        if failures >= tries or not is_retryable(error):
            translate(error, where, self._settings)

    def wait_s(self, failures: int, error: Exception, where: str) -> float:
        """How long to wait after a failure; if the server says how long, all requests wait.

        Raises SurveyError if the server asks for more than the time that is left.
        """
        server_wait_s, left_s = retry_after_s(error), self.left_s(where)
        wait_s = self._retry_policy.wait_s(failures, server_wait_s)
        if server_wait_s is not None:
            if wait_s > left_s:
                translate(error, where, self._settings)
            self.throttle.pause(wait_s)
        return min(wait_s, left_s)
