"""Rows that a stopped run committed before it could record their outcomes.

A signal may arrive between a row's commit and the record of its outcome, and the end of a task that commits
by itself (object stores) may not have been reported. The catalog's rows decide then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from jobs.executors.progress import TaskKey
from jobs.tasks.outcome import Delivered, Headline
from survey.errors import SurveyError, UsageError
from survey.records.target import Target

_HEADLINE = [field.name for field in fields(Headline)]
_ROWS = f"""
SELECT repo, sha, matrix, fetched_bytes, elapsed_s, host, measured_from, {", ".join(_HEADLINE)}
FROM measured_rows WHERE run_id = $run_id
"""


def read_committed(
    store: CatalogStore, run_id: str, pending: Iterable[Target]
) -> dict[TaskKey, Delivered] | None:
    """The pending targets whose row this run committed; None if the catalog cannot be read."""
    targets = {target.key: target for target in pending}
    if not targets:
        return {}
    try:
        with Reader(store) as reader:
            rows = reader.ask(_ROWS, {"run_id": run_id}).rows
    except (SurveyError, UsageError):
        return None
    committed = {}
    for repo, sha, matrix, fetched_bytes, elapsed_s, host, source, *figures in rows:
        if (target := targets.get((repo, sha, matrix))) is not None:
            headline = Headline(*figures)
            committed[target.key] = Delivered(target, None, headline, fetched_bytes, elapsed_s, host, source)
    return committed
