"""Commit results while the next ones are on their way: a commit waits 10 ms and more for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from catalog.store.open import CatalogStore
from jobs.tasks.measure_one import committed
from jobs.tasks.outcome import Delivered, Failed, Outcome
from survey.errors import SurveyError

AT_ONCE = 4  # each holds the tables of a model, some MB

Record = Callable[[Outcome, int], None]


class Committer:
    """Commits outcomes and then records them, several at a time. What it took is done when its block ends.

    record(outcome, tries): called by one thread at a time, once the outcome is committed.
    """

    def __init__(self, store: CatalogStore, record: Record) -> None:
        self._store, self._record = store, record
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="commit")
        self._free, self._recording = threading.Semaphore(AT_ONCE), threading.Lock()
        self._in_flight: list[Future[None]] = []

    def take(self, outcome: Outcome, tries: int) -> None:
        """Commit and record an outcome, soon. Raises what an earlier one raised: a defect of this program."""
        if isinstance(outcome, Failed):
            self._note(outcome, tries)
            return
        self._free.acquire()
        self._in_flight.append(self._pool.submit(self._commit, outcome, tries))
        for future in [future for future in self._in_flight if future.done()]:
            self._in_flight.remove(future)
            future.result()

    def __enter__(self) -> Committer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown()
        if kind is None:
            for future in self._in_flight:
                future.result()

    def _commit(self, outcome: Delivered, tries: int) -> None:
        try:
            self._note(_committed(outcome, self._store), tries)
        finally:
            self._free.release()

    def _note(self, outcome: Outcome, tries: int) -> None:
        with self._recording:
            self._record(outcome, tries)


def _committed(outcome: Delivered, store: CatalogStore) -> Outcome:
    """Commit a delivery unless its task did; a delivery that cannot be committed is a failure."""
    try:
        return committed(outcome, store)
    except SurveyError as error:
        return Failed(
            outcome.target,
            error.reason,
            str(error),
            outcome.fetched_bytes,
            outcome.elapsed_s,
            outcome.host,
        )
