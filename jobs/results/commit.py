"""Put single results into the catalog, and merge them where there are many."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from catalog.store.lock import catalog_lock
from catalog.store.open import CatalogStore
from catalog.write.commit import commit_result
from catalog.write.compact import compact, is_due
from catalog.write.contents import last_made
from survey import version
from survey.errors import CommitError, UsageError

_TICK = timedelta(microseconds=1)
Row = TypeVar("Row", bound=Any)  # of survey.records.results.RESULTS


def run_columns() -> dict[str, Any]:
    """The fields of `survey.records.results.Made`, now and here."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return {"survey_version": version(), "made_at": now, "host": socket.gethostname()}


def commit_row(place: CatalogStore, kind: str, key: tuple[str, ...], row: Row) -> Row:
    """Commit a result; of those with the same key the one that was committed last is shown.

    Its time is after all of theirs, whose makers' clocks may have been ahead. Raises CommitError.
    """
    last = last_made(place, kind, key)
    now = run_columns()["made_at"]
    stamped = dataclasses.replace(row, made_at=now if last is None else max(now, last + _TICK))
    commit_result(place, kind, key, stamped)
    # A run that holds the catalog merges them itself; what cannot be merged now, the next run says.
    with contextlib.suppress(UsageError, CommitError):
        if is_due(place):
            with catalog_lock(place, f"merge of {kind}") as lock:
                place.sweep()
                compact(place, lock)
    return stamped


def columns(record: Any) -> dict[str, Any]:  # Any: a record
    """A record's fields by name."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
