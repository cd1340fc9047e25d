"""Commit results while the next ones are on their way: a commit waits 10 ms and more for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from jobs.tasks.outcome import Failed, Outcome

AT_ONCE = 4  # each holds the tables of a model, some MB
MANY = 32  # outcomes: fewer are committed one by one, as they come

Commit = Callable[[Outcome], Outcome]
Record = Callable[[Outcome, int], None]


class Committer:
    """Commits outcomes and then records them, of many several at a time.

    What it took is committed and recorded when its block ends. commit: returns the outcome to record.
    record(outcome, tries): called by one thread at a time. expected: how many outcomes there will be.
    """

    def __init__(self, commit: Commit, record: Record, expected: int) -> None:
        self._commit, self._record = commit, record
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="commit") if expected >= MANY else None
        self._free, self._recording = threading.Semaphore(AT_ONCE), threading.Lock()
        self._in_flight: list[Future[None]] = []

    def take(self, outcome: Outcome, tries: int) -> None:
        """Commit and record an outcome, soon. Raises what an earlier one raised: a defect of this program."""
        if self._pool is None or isinstance(outcome, Failed):
            self._finish(outcome, tries)
            return
        self._free.acquire()
        future = self._pool.submit(self._finish, outcome, tries)
        future.add_done_callback(lambda _: self._free.release())
        self._in_flight.append(future)
        for ended in [future for future in self._in_flight if future.done()]:
            self._in_flight.remove(ended)
            ended.result()

    def __enter__(self) -> Committer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        if kind is None:
            for future in self._in_flight:
                future.result()

    def _finish(self, outcome: Outcome, tries: int) -> None:
        outcome = self._commit(outcome)
        with self._recording:
            self._record(outcome, tries)
