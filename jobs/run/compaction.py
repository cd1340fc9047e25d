"""`survey compact`: merge a catalog's loose files now; a run does so only from 500 on."""

from __future__ import annotations

from catalog.read.measured import read_measured
from catalog.read.reader import Reader
from catalog.store.lock import catalog_lock
from catalog.store.open import CatalogStore
from catalog.write.backfill import Filled
from catalog.write.compact import Compacted, compact
from jobs.backfill.from_tokens import fill_from_tokens
from jobs.run.clock import new_run_id


def compact_now(store: CatalogStore) -> tuple[Compacted, Filled, str]:
    """Bring all rows up to date from their tokens, then merge loose files into parts.

    Returns the lock's note for the user, too. Raises CatalogInUse, CommitError.
    """
    with catalog_lock(store, new_run_id()) as lock:
        store.sweep()
        with Reader(store) as reader:
            measured = read_measured(reader)
        filled = fill_from_tokens(store, measured)
        return compact(store, lock), filled, lock.note
