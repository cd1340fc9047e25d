"""The time of this machine, as the catalog stores it."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time in UTC, without a time zone: Parquet columns of timestamps have none."""
    return datetime.now(UTC).replace(tzinfo=None)
