"""The tables of tokenizers, named once a run and once a catalog, however many models share them.

A table lies in the catalog's folder `tokenizer_tables`, by the key of its tokenizer. Who needs one that is
not there takes its lock, on the driver's machine, and names it; others wait for the lock, which ends with its
holder, however that ends. A tokenizer for which there is no table, as it is broken or beyond a limit, has the
reason in its place. A reason of the moment (the time was short, a process was killed) is not kept: the next
one who waits tries again.

A worker on another machine than the driver's has no lock, so that a few may name one tokenizer at the same
time; it shares the tables only if the catalog is an object store, which every machine sees.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from catalog.files import TOKENIZER_TABLES
from catalog.store.open import CatalogStore, open_for_reading
from survey.errors import SurveyError
from survey.records.settings import Settings, TokenizerTablesPlace
from survey.vocabulary.process.isolation import TokenizerFailed
from survey.vocabulary.stored_table import STORED_CAP_BYTES, answer_of, compressed
from survey.vocabulary.table import BadAnswer, packed_size, unpacked

LOCK_POLL_S = 0.05
_NAMED = b"named in this run"  # in the lock's file


class RunTables:
    """The tables that the models of a run share."""

    def __init__(self, place: TokenizerTablesPlace) -> None:
        self._place = place

    def stored(self, key: str, rows: int) -> bytes | None:
        """See `survey.vocabulary.process.isolation.SharedTables`; nothing if tables are named anew."""
        store = self._store(has_lock=self._place.locks.is_dir())
        return None if store is None or self._place.renew else _stored_answer(store, key, rows)

    def answer(self, key: str, rows: int, name: Callable[[float], bytes], left_s: float) -> bytes:
        """See `survey.vocabulary.process.isolation.SharedTables`."""
        until = time.monotonic() + left_s
        with _turn(self._place, key, until) as lock:
            store = self._store(has_lock=lock is not None)
            is_ours = lock is not None and os.pread(lock, len(_NAMED), 0) == _NAMED
            if store is not None and (is_ours or not self._place.renew):
                known = _stored_answer(store, key, rows)
                if known is not None:
                    return known
            answer = name(until - time.monotonic())
            if store is not None:
                _publish(store, key, rows, answer)
            if lock is not None:
                os.pwrite(lock, _NAMED, 0)
            return answer

    def _store(self, *, has_lock: bool) -> CatalogStore | None:
        """The catalog, if this process certainly sees the one that the driver does."""
        store = _opened(self._place.catalog)
        return store if store is not None and (has_lock or store.commits_in_task) else None


def run_tables(settings: Settings) -> RunTables | None:
    """The tables of a run; None if nothing is shared, as in a notebook."""
    return None if settings.tokenizer_tables is None else RunTables(settings.tokenizer_tables)


def _opened(uri: str) -> CatalogStore | None:
    try:
        return open_for_reading(uri)
    except SurveyError:
        return None


@contextmanager
def _turn(place: TokenizerTablesPlace, key: str, until: float) -> Iterator[int | None]:
    """Hold the lock of a tokenizer, and give its descriptor; None if this machine has no locks.

    Raises TokenizerFailed if another holds it for too long.
    """
    try:
        lock = os.open(place.locks / key, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # another machine's folder, or no room for a file
        yield None
        return
    try:
        while not _is_locked(lock):
            if time.monotonic() > until:
                problem = "its tokens are named for another model, longer than there is time to wait"
                raise TokenizerFailed(f"{problem}; the next run tries again", lasting=False)
            time.sleep(LOCK_POLL_S)
        yield lock
    finally:
        os.close(lock)


def _is_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: go on without
        return True
    return True


def _stored_answer(store: CatalogStore, key: str, rows: int) -> bytes | None:
    """What the catalog holds for a matrix of so many rows; None if nothing that is whole."""
    for name in (key, _with_rows(key, rows)):
        content = store.small_file(TOKENIZER_TABLES, name, STORED_CAP_BYTES)
        answer = None if content is None else answer_of(content)
        if answer is None:
            continue
        try:
            table = unpacked(answer, rows)
        except BadAnswer:  # named for more rows than these
            continue
        if isinstance(table, str) or name != key or table.size <= rows:
            return answer
    return None


def _publish(store: CatalogStore, key: str, rows: int, answer: bytes) -> None:
    """Keep an answer in the catalog. If that fails the next one names anew: the rows stand without it."""
    size = packed_size(answer)
    # Named for fewer rows than it has tokens, it is the table of matrices of as many rows alone.
    name = key if size is None or size <= rows else _with_rows(key, rows)

    def write(opened: IO[bytes]) -> None:
        opened.write(compressed(answer))

    with contextlib.suppress(SurveyError):
        store.publish(TOKENIZER_TABLES, name, write)


def _with_rows(key: str, rows: int) -> str:
    return f"{key}.{rows}"
