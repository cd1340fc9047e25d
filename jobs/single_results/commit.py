"""Commit single results to the catalog, and merge their files if there are many."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from datetime import timedelta
from typing import TypeVar

from catalog.store.lock import catalog_lock
from catalog.store.open import CatalogStore
from catalog.write.commit import commit_result
from catalog.write.compact import compact, is_due
from catalog.write.contents import last_made
from survey import version
from survey.errors import CommitError, UsageError
from survey.process.clock import utc_now
from survey.records.results import Made

_TICK = timedelta(microseconds=1)
Row = TypeVar("Row", bound=Made)  # of survey.records.results.RESULTS


def made_here() -> Made:
    """The columns that say where and when a result was computed: on this machine, now."""
    return Made(survey_version=version(), made_at=utc_now(), host=socket.gethostname())


def commit_row(store: CatalogStore, kind: str, key: tuple[str, ...], row: Row) -> Row:
    """Commit a result and return it with its time; of results with the same key the newest is shown.

    Its time is later than theirs, even if the clock of their machine was ahead. Raises CommitError.
    """
    last = last_made(store, kind, key)
    now = utc_now()
    stamped = dataclasses.replace(row, made_at=now if last is None else max(now, last + _TICK))
    commit_result(store, kind, key, stamped)
    # A run that holds the catalog merges the files itself. If merging fails now, the next run reports it.
    with contextlib.suppress(UsageError, CommitError):
        if is_due(store):
            with catalog_lock(store, f"merge of {kind}") as lock:
                store.sweep()
                compact(store, lock)
    return stamped
