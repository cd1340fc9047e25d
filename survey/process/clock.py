"""Times as the catalog stores them: in UTC, without a time zone, which Parquet columns of timestamps lack."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time."""
    return datetime.now(UTC).replace(tzinfo=None)


def in_utc(time: datetime) -> datetime:
    """A time of any zone; one without a zone counts as UTC, not as this machine's. Raises OverflowError."""
    return (time if time.tzinfo is None else time.astimezone(UTC)).replace(tzinfo=None)
