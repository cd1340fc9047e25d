"""What a failed request amounts to: worth another try, or a reason of ours, with the server's own words.

huggingface_hub tells the Hub's refusals apart (`hf_raise_for_status`); its errors end here.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn

import httpx2
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but exported lazily
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from survey.errors import NoHub, NotOffered, NotTheHubs, SurveyError, Unreachable, printable
from survey.hub.access import why_no_token
from survey.hub.connect import NotConnected
from survey.hub.connections import CONNECTION_ERRORS, TooLong
from survey.process.redaction import redacted
from survey.records.settings import Settings

WORDS_CHARS = 300  # of a server's own message
MOST_CHARS = 4096  # of it before its secrets are taken out, which shortens it


class HttpStatusError(Exception):
    """A server answered with an error. No URL is kept: its query is the signature, a secret."""

    def __init__(self, status: int, headers: httpx2.Headers) -> None:
        super().__init__(status)
        self.status, self.headers = status, headers


FAILURES = (*CONNECTION_ERRORS, HttpStatusError, HFValidationError)


def headers_of(response: http.client.HTTPResponse) -> httpx2.Headers:
    """What came, whatever bytes it holds."""
    pairs = response.getheaders()
    return httpx2.Headers(
        [
            (str(name).encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
            for name, value in pairs
        ]
    )


def raise_for_status(method: str, url: str, status: int, headers: httpx2.Headers) -> None:
    """Raise the Hub's refusal as huggingface_hub calls it. Raises HfHubHTTPError, Answered."""
    if status < 400:
        return
    kept = [
        (name, value)
        for name, value in headers.raw
        if name.lower() not in (b"content-encoding", b"x-hf-warning")
    ]
    try:
        request = httpx2.Request(method, redacted(url))
        hf_raise_for_status(httpx2.Response(status, headers=kept, request=request))
    except HfHubHTTPError:
        raise
    # Numbers of thousands of digits in its headers; a URL that we can ask and httpx cannot hold.
    except Exception:  # noqa: BLE001
        pass
    raise HttpStatusError(status, headers)


def _answer(error: Exception) -> tuple[int, httpx2.Headers] | None:
    """Status and headers of the answer behind an error, if there was one."""
    if isinstance(error, HttpStatusError):
        return error.status, error.headers
    response = getattr(error, "response", None)
    return (response.status_code, response.headers) if isinstance(response, httpx2.Response) else None


def status_of(error: Exception) -> int | None:
    answer = _answer(error)
    return answer[0] if answer else None


def is_retryable(error: Exception) -> bool:
    if isinstance(error, Unreachable):
        return error.reason == "network" and not isinstance(error, (NotTheHubs, NoHub))
    status = status_of(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    if isinstance(error, NotConnected):
        return not error.permanent
    return isinstance(error, CONNECTION_ERRORS) and not isinstance(error, (TooLong, http.client.InvalidURL))


def retry_after_s(error: Exception) -> float | None:
    """How long a 429 or 503 asks to wait, if it says."""
    answer = _answer(error)
    if answer is None or answer[0] not in (429, 503):
        return None
    headers = answer[1]
    stated = headers.get("Retry-After", "").strip()
    if stated.isascii() and stated.isdecimal():
        return float(stated)
    try:
        if stated:  # a date, as HTTP allows, too
            return max((parsedate_to_datetime(stated) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # none, or one without a zone
        pass
    try:
        limit = parse_ratelimit_headers(headers)
        return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None
    except (ValueError, OverflowError):  # of thousands of digits, or of hundreds
        return None


def server_reason(headers: Mapping[str, str], token: str | None = None) -> str:
    """The server's own reason, such as a request that is pending, to be put in parentheses."""
    stated = headers.get("X-Error-Message", "")[:MOST_CHARS].encode("latin-1", "replace")
    words = " ".join(stated.decode("utf-8", "replace").split())
    words = printable(redacted(words, token)[:WORDS_CHARS])
    return f" (it says: {words})" if words else ""


def translate(error: Exception, where: str, settings: Settings | None = None) -> NoReturn:
    """Raise what the door's callers understand."""
    if isinstance(error, SurveyError):
        raise error
    answer = _answer(error)
    token = settings.token if settings else None
    status, words = (answer[0], server_reason(answer[1], token)) if answer else (None, "")
    hint = why_no_token(settings) if settings and status in (401, 403, 404) else ""
    hint, _, remedy = hint.rpartition("; ")
    words += hint
    offers: list[tuple[type[Exception], str, str]] = [
        # GatedRepoError is a RepositoryNotFoundError, so it is asked first.
        (GatedRepoError, "gated", f"its owner asks people to accept terms first{words}"),
        (DisabledRepoError, "disabled", "the Hub has disabled it"),
        (RevisionNotFoundError, "revision-not-found", "no such branch, tag or commit"),
        (RemoteEntryNotFoundError, "not-found", "no such file at this commit"),
        (RepositoryNotFoundError, "not-found", f"no such model, or a private one{hint}"),
        (HFValidationError, "not-found", f"not a model id: {error}"),
    ]
    for kind, reason, problem in offers:
        if isinstance(error, kind):
            raise NotOffered(reason, where, problem, remedy if hint and hint in problem else "") from error
    if status in (401, 403):
        raise NotOffered("unauthorised", where, f"the Hub answered {status}{words}", remedy) from error
    if status == 429:
        raise Unreachable("rate-limited", where, f"the Hub asks to slow down (429){words}") from error
    problem = f"the server answered {status}{words}" if status else _in_words(error)
    raise Unreachable("network", where, redacted(problem, token)) from error


def _in_words(error: Exception) -> str:
    if isinstance(error, NotConnected):
        return str(error)
    if isinstance(error, TimeoutError):
        return "the server fell silent"
    if isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
        return f"the connection broke: {error}"
    return f"{type(error).__name__}: {printable(str(error)[:WORDS_CHARS])}"
