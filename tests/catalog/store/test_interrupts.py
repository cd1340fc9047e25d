"""A stop that arrives while DuckDB reads a catalog is a stop, and no word about a file."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from catalog.read.measured import read_measured
from catalog.read.reader import Reader
from catalog.store.duckdb_filesystem import CatalogFileSystem, PositionedFile
from catalog.store.local import LocalFolder
from catalog.store.lock import Lock
from catalog.store.open import CatalogStore, open_for_reading, open_for_writing
from catalog.write.arrow_tables import Tables
from catalog.write.commit import commit
from catalog.write.compact import compact
from survey.cli.stopping import stoppable
from survey.errors import UsageError
from tests.bench.catalog import rows


def _count(store: CatalogStore) -> None:
    with Reader(store) as reader:
        assert reader.ask("SELECT count(*) FROM models").rows == [(3,)]


def _parquet(store: CatalogStore) -> None:
    with Reader(store) as reader:
        reader.ask_parquet("SELECT * FROM models")


def _rows(store: CatalogStore) -> None:
    with Reader(store) as reader:
        reader.rows([("a", "b", "output")])


def _done(store: CatalogStore) -> None:
    with Reader(store) as reader:
        assert len(read_measured(reader).rows) == 3


def _compact(store: CatalogStore) -> None:
    compact(store, Lock())


# Python says what it drops in `__del__`.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

WORK = {"count": _count, "parquet": _parquet, "rows": _rows, "done": _done, "compact": _compact}
CALLS = {
    "open": (CatalogFileSystem, "open"),
    "size": (CatalogFileSystem, "isfile"),
    "read": (PositionedFile, "read"),
    "seek": (PositionedFile, "seek"),
    "letting go": (PositionedFile, "__del__"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows in a part, and a loose one."""
    folder = tmp_path_factory.mktemp("made")
    store = open_for_writing(str(folder))
    for number in range(2):
        commit(store, Tables(rows(number, 1, 8), None))
    for _ in range(2):
        compact(store, Lock())
    commit(store, Tables(rows(2, 1, 8), None))
    return folder


@pytest.fixture
def catalog(made: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(made, tmp_path / "c"))


@contextmanager
def signalled(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, nth: int) -> Iterator[list[int]]:
    """SIGTERM arrives while DuckDB makes the nth call from the main thread; yields the calls."""
    original: Callable[..., object] = getattr(owner, name, lambda self: None)
    calls, numbers = [], itertools.count()

    def interrupted(self: object, *args: object, **options: object) -> object:
        if threading.current_thread() is threading.main_thread():
            calls.append(next(numbers))
            if calls[-1] == nth:
                signal.raise_signal(signal.SIGTERM)
        return original(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, interrupted, raising=False)
        yield calls


def attach_with_one_thread(
    store: LocalFolder,
    connection: duckdb.DuckDBPyConnection,
    attach: Callable[[LocalFolder, duckdb.DuckDBPyConnection], None] = LocalFolder.attach,
) -> None:
    """Let DuckDB make all its calls from the main thread; otherwise any of its threads may make them."""
    attach(store, connection)
    connection.execute("SET threads = 1")


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_signal_within_any_call_of_duckdb_s_stops(
    catalog: str,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[CatalogStore], None],
    call: tuple[type, str],
) -> None:
    for nth in (0, 1, 6, 17):
        with signalled(monkeypatch, *call, nth) as calls, stoppable():
            try:
                work(open_for_reading(catalog))
            except KeyboardInterrupt:
                assert nth in calls
            else:
                assert nth not in calls  # it is over before, or other threads make these calls
    monkeypatch.setattr(LocalFolder, "attach", attach_with_one_thread)
    with signalled(monkeypatch, *call, 0) as calls, stoppable(), pytest.raises(KeyboardInterrupt):
        work(open_for_reading(catalog))
    monkeypatch.undo()
    with Reader(open_for_reading(catalog)) as reader:
        assert reader.ask("SELECT count(*) FROM models").rows == [(3,)]
        assert reader.left_out == []


LONG = "SELECT sum(sin(a.range) * b.range) FROM range(100000) a, range(10000) b, models"  # minutes


@pytest.mark.parametrize(("call", "nth"), [("open", 0), ("size", 0), ("letting go", 0), ("letting go", 1)])
def test_a_signal_is_seen_before_the_query_ends(
    catalog: str, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    otherwise = threading.Timer(20.0, os.kill, (os.getpid(), signal.SIGTERM))
    reader = Reader(open_for_reading(catalog))
    with reader, stoppable(), signalled(monkeypatch, *CALLS[call], nth) as calls:
        began = time.monotonic()
        otherwise.start()
        with pytest.raises(KeyboardInterrupt):
            reader.ask(LONG)
        otherwise.cancel()
    assert nth in calls
    assert time.monotonic() - began < 10


def test_a_signal_while_a_catalog_is_closed_stops(catalog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python drops in `__del__` is not forgotten."""
    reader = Reader(open_for_reading(catalog))
    reader.ask("SELECT * FROM models")
    kept = PositionedFile(0, lambda start, stop: b"")
    close = reader._catalog.connection.close

    class Connection:
        def close(self) -> None:
            nonlocal kept
            del kept
            close()

    monkeypatch.setattr(reader._catalog, "connection", Connection())
    with signalled(monkeypatch, PositionedFile, "__del__", 0) as calls, stoppable():
        with pytest.raises(KeyboardInterrupt):
            reader.__exit__()
        assert calls


def test_files_that_were_read_are_not_kept_open(catalog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.store.duckdb_local.WHOLE_FILE_BYTES", 0)  # as if each were large
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Reader(open_for_reading(catalog)) as reader:
            assert len(reader.ask("SELECT * FROM models").rows) == 3
    assert len(os.listdir("/proc/self/fd")) <= before  # an earlier test's may be collected meanwhile


def test_a_signal_within_duckdb_itself_stops(catalog: str) -> None:
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    with Reader(open_for_reading(catalog)) as reader, stoppable():
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            reader.ask(LONG)
        assert reader.ask("SELECT count(*) FROM models").rows == [(3,)]
    timer.join()


def test_the_handlers_are_as_before_and_a_later_query_is_answered(
    catalog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Reader(open_for_reading(catalog)) as reader:
        with monkeypatch.context() as patched:
            patched.setattr(CatalogFileSystem, "open", lambda *_, **__: signal.raise_signal(signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                reader.ask("SELECT count(*) FROM models")
        assert signal.getsignal(signal.SIGINT) is before
        assert reader.ask("SELECT count(*) FROM models").rows == [(3,)]
        assert reader.left_out == []


@pytest.mark.parametrize("text", ["KeyboardInterrupt", "Query interrupted"])
def test_an_error_that_only_speaks_of_a_stop_is_none(catalog: str, text: str) -> None:
    with Reader(open_for_reading(catalog)) as reader, pytest.raises(UsageError, match=text):
        reader.ask(f"SELECT error('{text}') FROM models")
