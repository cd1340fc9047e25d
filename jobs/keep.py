"""Put single results into the catalog, and merge them where there are many."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from datetime import UTC, datetime
from typing import Any, TypeVar

from catalog.commit import commit_result
from catalog.compact import compact, is_due
from catalog.lock import held
from catalog.place import Place
from survey import version
from survey.errors import CatalogInUse, CommitError

Row = TypeVar("Row", bound=Any)  # of survey.results.RESULTS


def made() -> dict[str, Any]:
    """The fields of `survey.results.Made`, now and here."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return {"survey_version": version(), "made_at": now, "host": socket.gethostname()}


def keep(place: Place, kind: str, key: tuple[str, ...], row: Row) -> Row:
    """Commit a result; of those with the same key the newest is shown, by this machine's clock.

    Raises CommitError.
    """
    stamped = dataclasses.replace(row, made_at=made()["made_at"])
    commit_result(place, kind, key, stamped)
    # A run that holds the catalog merges them itself; what cannot be merged now, the next run says.
    with contextlib.suppress(CatalogInUse, CommitError):
        if is_due(place):
            with held(place, f"merge of {kind}") as lock:
                place.sweep()
                compact(place, lock)
    return stamped
