"""A file that unpacks to more memory than any of ours is left out, and the others are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.files import File
from catalog.read.heavy_files import heavy_files
from catalog.read.reader import QueryLimits, Reader
from catalog.store.open import CatalogStore
from survey.errors import UsageError

Bombs = Callable[[str], AbstractContextManager[Path]]
SQL = "SELECT repo, family FROM models"


@pytest.fixture
def file(committed: CatalogStore) -> Iterator[Path]:
    path = Path(committed.files("rows")[0].path)
    whole = path.read_bytes()
    yield path
    path.write_bytes(whole)


@pytest.fixture(scope="module")
def bombs(committed: CatalogStore) -> Bombs:
    """A row file that unpacks to 1.3 GB by one of its columns; it is the catalog's in the context."""
    path = Path(committed.files("rows")[0].path)
    whole, made = path.read_bytes(), dict[str, bytes]()

    @contextmanager
    def bomb(column: str) -> Iterator[Path]:
        if column not in made:
            _repeated(path, column, "x" * (16 << 20), 80)
        made.setdefault(column, path.read_bytes())
        path.write_bytes(made[column])
        try:
            yield path
        finally:
            path.write_bytes(whole)

    return bomb


def _repeated(path: Path, column: str, text: str, rows: int) -> None:
    """The file with as many copies of its row, all with this text."""
    table = pq.read_table(path)
    copies = [
        pa.chunked_array([pa.array([text])] * rows)
        if field.name == column
        else pa.chunked_array([table[field.name].combine_chunks()] * rows)
        for field in table.schema
    ]
    repeated = pa.Table.from_arrays(copies, schema=table.schema)
    pq.write_table(repeated, path, compression="zstd", use_dictionary=False)


LIMITS = {
    "of a server": QueryLimits(memory_mb=1024, rows=100),
    "of a server with half of it": QueryLimits(memory_mb=500, rows=100),
    "the least of a server": QueryLimits(memory_mb=64, rows=100),
    "of a command": None,
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("column", ["repo", "family"])
def test_a_file_that_unpacks_to_gigabytes_is_named_and_the_others_are_answered(
    committed: CatalogStore,
    bombs: Bombs,
    column: str,
    limits: QueryLimits | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("catalog.read.open_catalog.FIRST_MB", 400)  # of 4 GB, which a larger bomb would take
    with bombs(column) as file, Reader(committed, limits) as reader:
        assert file.stat().st_size < 1 << 20
        assert len(reader.ask(SQL).rows) == 1
        [left_out] = reader.left_out
    assert left_out.file.path == str(file)
    assert "takes more than 256 MB of memory" in left_out.problem


@pytest.mark.parametrize(
    ("half_mb", "problem"),
    [
        pytest.param(200, "takes more than 200 MB of memory", id="less than usual"),
        pytest.param(100, None, id="too little for files of ours"),
    ],
)
def test_a_process_with_little_memory_calls_no_file_too_large_that_it_could_not_hold_anyway(
    committed: CatalogStore, bombs: Bombs, half_mb: int, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.read.heavy_files.half_of_memory_mb", lambda: half_mb)
    with bombs("family"), Reader(committed, QueryLimits(memory_mb=half_mb, rows=100)) as reader:
        if problem is None:
            with pytest.raises(UsageError, match="ask for less"):
                reader.ask(SQL)
            assert not reader.left_out
        else:
            assert len(reader.ask(SQL).rows) == 1
            assert problem in reader.left_out[0].problem


def test_a_question_that_takes_more_than_the_first_memory_gets_more(
    committed: CatalogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.read.open_catalog.FIRST_MB", 40)
    with Reader(committed) as reader:
        assert reader.ask("SELECT len(list(range)) FROM range(10000000)").rows == [(10000000,)]
        assert not reader.left_out


def test_what_takes_more_than_all_memory_is_refused_and_the_next_is_answered(committed: CatalogStore) -> None:
    with Reader(committed, QueryLimits(memory_mb=64, rows=100)) as reader:
        with pytest.raises(UsageError, match="ask for less"):
            reader.ask("SELECT len(list(range)) FROM range(100000000)")
        assert len(reader.ask(SQL).rows) == 2
        assert not reader.left_out


def test_a_long_text_by_itself_is_no_reason_to_leave_a_file_out(committed: CatalogStore, file: Path) -> None:
    _repeated(file, "family", "x" * 1000, 200)
    with Reader(committed) as reader:
        assert len(reader.ask(SQL).rows) == 2
        assert not reader.left_out


@pytest.mark.parametrize(("limit_mb", "most_mb"), [(64, 512), (600, 600), (2000, 1024)])
def test_what_is_named_like_a_part_may_take_the_memory_of_an_answer(
    committed: CatalogStore, monkeypatch: pytest.MonkeyPatch, limit_mb: int, most_mb: int
) -> None:
    """But never less than twice what a part of ours takes."""
    used: list[int] = []

    def beyond(store: CatalogStore, files: list[File], most_mb: int) -> list[File]:
        used.append(most_mb)
        return files

    monkeypatch.setattr("catalog.read.heavy_files._beyond", beyond)
    [loose, *_] = committed.files("rows")
    part = replace(loose, name="part-20260101T000000000000-000.parquet")
    assert list(heavy_files(committed, [loose, part], limit_mb)) == [(part, most_mb), (loose, 256)]
    assert used == [most_mb, 256]


def test_a_part_that_stops_the_answers_of_a_server_is_left_out(committed: CatalogStore, file: Path) -> None:
    """It unpacks to 900 MB, as no part of ours does; other files may take 1 GB."""
    _repeated(file, "family", "x" * (16 << 20), 56)
    part = file.rename(file.with_name("part-20260101T000000000000-000.parquet"))
    try:
        with Reader(committed, QueryLimits(memory_mb=520, rows=100)) as reader:
            assert len(reader.ask(SQL).rows) == 1
            [left_out] = reader.left_out
        assert (left_out.file.path, left_out.fate) == (str(part), "unreadable")
        assert "takes more than 520 MB of memory" in left_out.problem
    finally:
        part.unlink()
