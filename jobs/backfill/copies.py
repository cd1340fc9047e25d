"""Rows of matrices whose bytes are those of a stored row: copied under their own key, and not measured."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from catalog.read.measured import RowKey
from catalog.store.open import CatalogStore
from catalog.write.arrow_tables import under_key
from catalog.write.commit import commit
from catalog.write.stored_matrix import StoredModel, of_stored_values, read_each
from jobs.backfill.copied_columns import Cost, delivered, own_columns, refuse_other_bytes, with_own_tokenizer
from jobs.backfill.from_tokenizer import CONCURRENT_MODELS
from jobs.tasks.outcome import Delivered
from survey.errors import SurveyError, UsageError
from survey.hub.throttle import Throttle
from survey.opening import open_target
from survey.records.settings import Settings
from survey.records.target import Target


@dataclass(frozen=True, slots=True)
class Copied:
    """The end of one copy. delivered: None if there is none, because of this problem."""

    target: Target
    delivered: Delivered | None
    problem: str = ""


def copy_rows(
    targets: Sequence[Target],
    sources: Mapping[RowKey, RowKey],
    settings: Settings,
    throttle: Throttle,
    store: CatalogStore,
) -> Generator[Copied, None, None]:
    """Copy the row of each target from its source and commit it; what fails is returned, never raised."""
    if not targets:  # to open the catalog takes a while
        return
    waiting: dict[RowKey, list[Target]] = defaultdict(list)
    for target in targets:
        waiting[sources[target.key]].append(target)
    copier = RowCopier(settings, throttle, store)
    running: deque[Future[Copied]] = deque()
    problem = "its row is not there, or cannot be read"
    pool = ThreadPoolExecutor(min(CONCURRENT_MODELS, settings.connections), thread_name_prefix="copies")
    try:
        try:
            for key, stored in read_each(store, list(waiting)):
                for target in waiting.pop(key):
                    running.append(pool.submit(copier.copy, stored, target))
                    if len(running) > CONCURRENT_MODELS:  # each keeps a per-token table in memory
                        yield running.popleft().result()
        except (SurveyError, UsageError) as error:
            problem = str(error)
        yield from (future.result() for future in running)
        yield from (Copied(target, None, problem) for of_row in waiting.values() for target in of_row)
    finally:
        # Not waited for: a tokenizer may take minutes, and a stop must end the run at once.
        copier.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


class RowCopier:
    """Copies rows, in several threads; once it is stopped, the catalog may be another run's."""

    def __init__(self, settings: Settings, throttle: Throttle, store: CatalogStore) -> None:
        self.stopped = Event()
        self._settings, self._throttle, self._store = settings, throttle, store

    def copy(self, stored: StoredModel, target: Target) -> Copied:
        """Commit a stored row under the key of a target of the same bytes."""
        started, settings = time.monotonic(), self._settings
        try:
            with of_stored_values(stored.name):
                refuse_other_bytes(stored, target, settings)
                # Makes no request; of a folder it checks that it is still as it was planned.
                checkpoint = open_target(target, settings, self._throttle).checkpoint
                tables = with_own_tokenizer(stored, target, checkpoint, settings)
                cost = Cost(target.planning + checkpoint.traffic, time.monotonic() - started)
                columns = own_columns(stored, target, settings, cost)
                copied = Copied(target, delivered(stored, target, columns, cost))
                tables = under_key(tables, columns)
            if self.stopped.is_set():
                return Copied(target, None, "the run was stopped")
            commit(self._store, tables)
        except SurveyError as error:
            return Copied(target, None, str(error))
        return copied
