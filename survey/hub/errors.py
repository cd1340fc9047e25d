"""Failed requests: whether to retry them, and their translation into our errors, with the server's own words.

huggingface_hub classifies the Hub's refusals (`hf_raise_for_status`); its errors end here.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
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
)

from survey.errors import NotOffered, SurveyError, Unreachable, printable
from survey.hub.access import why_no_token
from survey.hub.transport.connections import CONNECTION_ERRORS
from survey.hub.transport.sockets import NotConnected
from survey.process.redaction import redacted
from survey.records.settings import Settings

MESSAGE_CHARS = 300  # of a server's own message
RAW_MESSAGE_CHARS = 4096  # of it before its secrets are removed, which shortens it


class HttpStatusError(Exception):
    """A server answered with an error status. The URL is not kept: its query is the signature, a secret."""

    def __init__(self, status: int, headers: httpx2.Headers) -> None:
        super().__init__(status)
        self.status, self.headers = status, headers


FAILURES = (*CONNECTION_ERRORS, HttpStatusError, HFValidationError)


def headers_of(response: http.client.HTTPResponse) -> httpx2.Headers:
    """The headers of a response, whatever bytes they hold."""
    pairs = response.getheaders()
    return httpx2.Headers(
        [
            (str(name).encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
            for name, value in pairs
        ]
    )


def raise_for_status(method: str, url: str, status: int, headers: httpx2.Headers) -> None:
    """Raise HfHubHTTPError for a refusal that huggingface_hub can classify, else HttpStatusError."""
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
    # Numbers of thousands of digits in its headers; a URL that we can request and httpx cannot hold.
    except Exception:  # noqa: BLE001
        pass
    raise HttpStatusError(status, headers)


def response_of(error: Exception) -> tuple[int, httpx2.Headers] | None:
    """Status and headers of the response behind an error, if there was one."""
    if isinstance(error, HttpStatusError):
        return error.status, error.headers
    response = getattr(error, "response", None)
    return (response.status_code, response.headers) if isinstance(response, httpx2.Response) else None


def status_of(error: Exception) -> int | None:
    """The HTTP status behind an error, if there was a response."""
    response = response_of(error)
    return response[0] if response else None


def server_reason(headers: Mapping[str, str], token: str | None = None) -> str:
    """The server's own reason in parentheses, such as a request that is pending; "" if it gives none."""
    stated = headers.get("X-Error-Message", "")[:RAW_MESSAGE_CHARS].encode("latin-1", "replace")
    words = " ".join(stated.decode("utf-8", "replace").split())
    words = printable(redacted(words, token)[:MESSAGE_CHARS])
    return f" (it says: {words})" if words else ""


def translate(error: Exception, where: str, settings: Settings | None = None) -> NoReturn:
    """Raise the SurveyError for a failed request."""
    if isinstance(error, SurveyError):
        raise error
    response = response_of(error)
    token = settings.token if settings else None
    status, words = (response[0], server_reason(response[1], token)) if response else (None, "")
    hint = why_no_token(settings) if settings and status in (401, 403, 404) else ""
    hint, _, remedy = hint.rpartition("; ")
    words += hint
    refusals: list[tuple[type[Exception], str, str]] = [
        # GatedRepoError is a RepositoryNotFoundError, so it comes first.
        (GatedRepoError, "gated", f"its owner asks people to accept terms first{words}"),
        (DisabledRepoError, "disabled", "the Hub has disabled it"),
        (RevisionNotFoundError, "revision-not-found", "no such branch, tag or commit"),
        (RemoteEntryNotFoundError, "not-found", "no such file at this commit"),
        (RepositoryNotFoundError, "not-found", f"no such model, or a private one{hint}"),
        (HFValidationError, "not-found", f"not a model id: {error}"),
    ]
    for kind, reason, problem in refusals:
        if isinstance(error, kind):
            raise NotOffered(reason, where, problem, remedy if hint and hint in problem else "") from error
    if status in (401, 403):
        raise NotOffered("unauthorised", where, f"the Hub answered {status}{words}", remedy) from error
    if status == 429:
        raise Unreachable("rate-limited", where, f"the Hub asks to slow down (429){words}") from error
    problem = f"the server answered {status}{words}" if status else _describe(error)
    raise Unreachable("network", where, redacted(problem, token)) from error


def _describe(error: Exception) -> str:
    if isinstance(error, NotConnected):
        return str(error)
    if isinstance(error, TimeoutError):
        return "the server fell silent"
    if isinstance(error, (http.client.RemoteDisconnected, ConnectionError)):
        return f"the connection broke: {error}"
    return f"{type(error).__name__}: {printable(str(error)[:MESSAGE_CHARS])}"
