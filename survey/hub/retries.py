"""Which errors of a request are tried again, and the wait that a server states.

How often, and how long to wait if the server states nothing: `RetryPolicy` in `survey/records/settings.py`.
The loops are in `request_policy.py` (small requests) and `range_reader.py` (byte ranges). An object store's
retries: `catalog/store/object_store_retries.py`.
"""

from __future__ import annotations

import http.client
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

from survey.errors import NoHub, NotTheHubs, Unreachable
from survey.hub.errors import response_of, status_of
from survey.hub.transport.connections import CONNECTION_ERRORS
from survey.hub.transport.limits import TooLong
from survey.hub.transport.sockets import NotConnected


def is_retryable(error: Exception) -> bool:
    """Whether the same request may succeed later: a busy server, a broken connection."""
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
    response = response_of(error)
    if response is None or response[0] not in (429, 503):
        return None
    headers = response[1]
    stated = headers.get("Retry-After", "").strip()
    if stated.isascii() and stated.isdecimal():
        return float(stated)
    try:
        if stated:  # a date, as HTTP allows, too
            return max((parsedate_to_datetime(stated) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # not a date, or one without a zone
        pass
    try:
        limit = parse_ratelimit_headers(headers)
        return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None
    except (ValueError, OverflowError):  # of thousands or hundreds of digits
        return None
