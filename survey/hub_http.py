"""How requests to the Hub behave: one session, patience, a common pace, deadlines, what they cost.

huggingface_hub's errors and httpx2's end here; what goes further is ours.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import httpx2
from huggingface_hub import get_session
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but exported lazily
    parse_ratelimit_headers,
)

from survey.errors import NotOffered, SurveyError, Unreachable
from survey.hub_line import BROKEN
from survey.pace import OwnPace, Pace
from survey.target import Settings, Traffic

TIMEOUT = httpx2.Timeout(10.0, read=30.0, pool=None)
_FAILURES = (HfHubHTTPError, httpx2.HTTPError, HFValidationError, OfflineModeIsEnabled)

Result = TypeVar("Result")
_hook_lock = threading.Lock()


class Answered(Exception):
    """The storage answered with an error. No URL is kept: its query is the signature, a secret."""

    def __init__(self, status: int, headers: httpx2.Headers) -> None:
        super().__init__(status)
        self.status, self.headers = status, headers


@dataclass(slots=True)
class Noted:
    """What one small request cost: also where it was redirected, or died without an answer."""

    timeout: httpx2.Timeout
    requests: int = 0
    responses: list[httpx2.Response] = field(default_factory=list)
    longest_wait_s: float | None = None  # where the library waits by itself, as long as it is told

    @property
    def bytes(self) -> int:
        return sum(response.num_bytes_downloaded for response in self.responses)


# Filled by hooks of the session while a small request is under way in this thread.
noted_now: ContextVar[Noted | None] = ContextVar("noted", default=None)


class Counter:
    """Traffic, added to from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = Traffic()

    def add(self, *, bytes: int = 0, requests: int = 0, retries: int = 0) -> None:
        with self._lock:
            self.total += Traffic(bytes, requests, retries)


class Manners:
    """How one model's requests behave: patience, a common pace, a deadline, and what they cost."""

    def __init__(self, settings: Settings, pace: Pace | None = None, limit_s: float | None = None) -> None:
        self.patience, self.pace, self.counter = settings.patience, pace or OwnPace(), Counter()
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

    def timeout(self, where: str) -> httpx2.Timeout:
        """How long one request may be silent: never beyond the deadline."""
        left = self.left_s(where)
        connect, read = (min(left, TIMEOUT.as_dict()[name] or left) for name in ("connect", "read"))
        return httpx2.Timeout(connect=connect, read=read, write=left, pool=None)

    def patiently(self, call: Callable[[], Result], where: str) -> Result:
        """One small request, made again while the server is busy or out of reach."""
        for attempt in itertools.count(1):
            self.pace.wait()
            noted = Noted(self.timeout(where))
            reset = noted_now.set(noted)
            try:
                session()  # so that the library's own requests are noted, too
                return call()
            except (*_FAILURES, Answered, Unreachable) as error:
                self.left_s(where)
                if attempt >= self.patience.tries or not worth_again(error):
                    translate(error, where)
                self.counter.add(retries=1)
                wait_s = self.wait_s(attempt, error, where)
            finally:
                noted_now.reset(reset)
                self.counter.add(bytes=noted.bytes, requests=noted.requests)
            time.sleep(wait_s)
        raise AssertionError("an endless loop returns or raises")

    def wait_s(self, failures: int, error: Exception, where: str) -> float:
        """How long to wait after a failure; where the server says so, everybody waits."""
        asked_s = _asked_wait_s(error)
        wait_s = self.patience.wait_s(failures, asked_s)
        if asked_s is not None:
            self.pace.pause(wait_s)
        return min(wait_s, self.left_s(where))


def session() -> httpx2.Client:
    session = get_session()
    with _hook_lock:
        hooks = session.event_hooks
        if _note_request not in hooks.get("request", []):
            session.event_hooks = {
                "request": [*hooks.get("request", []), _note_request],
                "response": [*hooks.get("response", []), _note_response],
            }
    return session


def _note_request(request: httpx2.Request) -> None:
    noted = noted_now.get()
    if noted is not None:
        noted.requests += 1
        if not any(request.extensions.get("timeout", {}).values()):
            # Some of the library's requests (listings, refs) would wait for an answer for ever.
            request.extensions = {**request.extensions, "timeout": noted.timeout.as_dict()}


def _note_response(response: httpx2.Response) -> None:
    noted = noted_now.get()
    if noted is None:
        return
    noted.responses.append(response)
    answered = Answered(response.status_code, response.headers)
    if noted.longest_wait_s is not None and (_asked_wait_s(answered) or 0.0) > noted.longest_wait_s:
        raise answered


def bare(url: str) -> str:
    """A URL without its query, which is the signature: a secret."""
    return url.partition("?")[0]


def _answer(error: Exception) -> tuple[int, httpx2.Headers] | None:
    """Status and headers of the answer behind an error, if there was one."""
    if isinstance(error, Answered):
        return error.status, error.headers
    response = getattr(error, "response", None)
    return (response.status_code, response.headers) if isinstance(response, httpx2.Response) else None


def status_of(error: Exception) -> int | None:
    answer = _answer(error)
    return answer[0] if answer else None


def worth_again(error: Exception) -> bool:
    if isinstance(error, httpx2.TransportError):
        return True
    if isinstance(error, Unreachable):
        return error.reason == "network"
    status = status_of(error)
    if status is None:
        return isinstance(error, BROKEN)
    return status in (408, 429) or status >= 500


def _asked_wait_s(error: Exception) -> float | None:
    """How long a 429 or 503 asks to wait, if it says."""
    answer = _answer(error)
    if answer is None or answer[0] not in (429, 503):
        return None
    headers = answer[1]
    stated = headers.get("Retry-After", "")
    if stated.isdecimal():
        return float(stated)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None


def translate(error: Exception, where: str) -> NoReturn:
    """Raise what the door's callers understand."""
    if isinstance(error, SurveyError):
        raise error
    status = status_of(error)
    offers: list[tuple[type[Exception], str, str]] = [
        # GatedRepoError is a RepositoryNotFoundError, so it is asked first.
        (GatedRepoError, "gated", "its owner asks people to accept terms first"),
        (DisabledRepoError, "disabled", "the Hub has disabled it"),
        (RevisionNotFoundError, "revision-not-found", "no such branch, tag or commit"),
        (RemoteEntryNotFoundError, "not-found", "no such file at this commit"),
        (RepositoryNotFoundError, "not-found", "no such model, or a private one"),
        (HFValidationError, "not-found", f"not a model id: {error}"),
    ]
    for kind, reason, problem in offers:
        if isinstance(error, kind):
            raise NotOffered(reason, where, problem) from error
    if status in (401, 403):
        raise NotOffered("unauthorised", where, f"the Hub answered {status}") from error
    if status == 429:
        raise Unreachable("rate-limited", where, "the Hub asks to slow down (429)") from error
    if isinstance(error, OfflineModeIsEnabled):
        raise Unreachable("network", where, "HF_HUB_OFFLINE is set") from error
    kind_name = f"the server answered {status}" if status else f"{type(error).__name__}: {error}"
    raise Unreachable("network", where, kind_name) from error
