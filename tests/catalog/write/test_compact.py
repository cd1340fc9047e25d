"""Loose files become parts, and no reader ever sees a row vanish or twice."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import Ran
from support.deliveries import delivered
from support.single_results import kinematics_row

from catalog.files import ATTEMPTS, ROWS, File, is_part, loose_files
from catalog.read.reader import Reader
from catalog.schema_of_records import arrow_schema, attempt_columns
from catalog.store.lock import Lock
from catalog.store.open import CatalogStore, open_for_writing
from catalog.write.arrow_tables import Tables
from catalog.write.commit import commit, commit_attempts, commit_result
from catalog.write.compact import Compacted, compact
from catalog.write.contents import KINDS
from catalog.write.retire import retire
from survey.errors import CommitError

Make = Callable[..., Path]
MODELS = 7
KIND = "kinematics"


@pytest.fixture
def tables(checkpoint: Make) -> Tables:
    delivered_tables = delivered(checkpoint()).tables
    assert delivered_tables is not None
    return delivered_tables


def renamed(tables: Tables, repo: str, later_s: int = 0, **values: object) -> Tables:
    """The same measurement under another name, measured later."""
    row = tables.row.to_pylist()[0] | {"repo": repo} | values
    row["measured_at"] += timedelta(seconds=later_s)
    tokens = tables.tokens
    assert tokens is not None
    names = pa.array([repo] * len(tokens))
    return Tables(pa.Table.from_pylist([row], schema=tables.row.schema), tokens.set_column(0, "repo", names))


def add(store: CatalogStore, tables: Tables, names: Iterator[str] | list[str]) -> None:
    for name in names:
        commit(store, renamed(tables, name))


@pytest.fixture
def filled(uri: str, tables: Tables) -> CatalogStore:
    store = open_for_writing(uri)
    add(store, tables, [f"org/{number}" for number in range(MODELS)])
    return store


def counts(store: CatalogStore) -> tuple[int, int, int, int]:
    """Rows and keys of `models`, rows of `tokens` and `vectors`."""
    with Reader(store) as reader:
        ((rows, keys),) = reader.ask("SELECT count(*), count(DISTINCT repo) FROM models").rows
        ((tokens,),) = reader.ask("SELECT count(*) FROM tokens").rows
        ((vectors,),) = reader.ask("SELECT count(centroid) FROM vectors").rows
        assert reader.damaged == []
    return rows, keys, tokens, vectors


ALL = (MODELS, MODELS, MODELS * 300, MODELS)


def test_what_is_merged_lives_one_compaction_longer(filled: CatalogStore) -> None:
    assert compact(filled, Lock()) == Compacted(removed=0, merged=MODELS, parts=1, rows=MODELS)
    assert len(loose_files(filled)) == MODELS
    assert counts(filled) == ALL
    assert compact(filled, Lock()) == Compacted(removed=MODELS, merged=0, parts=0, rows=0)
    assert [is_part(file) for file in filled.files(ROWS)] == [True]
    assert counts(filled) == ALL
    assert compact(filled, Lock()) == Compacted()


def test_a_reader_opened_before_sees_the_same_after(filled: CatalogStore) -> None:
    with Reader(filled) as reader:
        query = "SELECT count(*), count(DISTINCT repo), sum(dead_count) FROM models"
        before = reader.ask(query).rows
        for _ in range(3):
            compact(filled, Lock())
            assert reader.ask(query).rows == before
        assert reader.damaged == []


def test_readers_meanwhile_see_every_row_once(tmp_path: Path, tables: Tables) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    add(store, tables, ["org/always"])
    read_counts: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            with Reader(store) as reader:
                read_counts.extend(
                    row[0] for row in reader.ask("SELECT count(*) FROM models WHERE repo = 'org/always'").rows
                )

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(8):
        add(store, tables, [f"org/{number}-{item}" for item in range(3)])
        compact(store, Lock())
    done.set()
    for reader in readers:
        reader.join()
    assert len(read_counts) > 4
    assert set(read_counts) == {1}


def test_the_newest_of_a_key_wins_wherever_it_lies(filled: CatalogStore, tables: Tables) -> None:
    query = "SELECT dead_count FROM models WHERE repo = 'org/3'"

    def answer() -> list[tuple[object, ...]]:
        with Reader(filled) as reader:
            return reader.ask(query).rows

    compact(filled, Lock())
    commit(filled, renamed(tables, "org/3", later_s=60, dead_count=99))  # overwrites a merged file
    assert answer() == [(99,)]
    retire(filled, Lock())
    assert len(loose_files(filled)) == 1  # newer than its copy in the part: it stays
    assert answer() == [(99,)]
    for _ in range(3):
        compact(filled, Lock())
        assert answer() == [(99,)]
    assert len(filled.files(ROWS)) == 1


def test_small_parts_are_merged_with_what_comes(filled: CatalogStore, tables: Tables) -> None:
    for turn in range(4):
        add(filled, tables, [f"more/{turn}"])
        compact(filled, Lock())
    compact(filled, Lock())
    assert len(filled.files(ROWS)) == 1
    assert counts(filled)[:2] == (MODELS + 4, MODELS + 4)


def test_parts_have_a_size(filled: CatalogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.write.parts.PART_BYTES", 1)
    monkeypatch.setattr("catalog.write.compact.KINDS", [replace(kind, group_rows=3) for kind in KINDS])
    assert compact(filled, Lock()).parts == 3  # 3 + 3 + 1 rows
    compact(filled, Lock())
    assert counts(filled) == ALL


class Stop(Exception):
    """The process ends here."""


@contextlib.contextmanager
def crashing(store: CatalogStore, monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """Steps are what changes the disk: parts published, files removed one by one."""
    steps = iter(range(100))
    publish, remove = type(store).publish, type(store).remove

    def counted_publish(self: CatalogStore, folder: str, name: str, write: Callable[[IO[bytes]], None], **kind: bool) -> None:  # fmt: skip
        if next(steps) == step:
            raise Stop
        publish(self, folder, name, write, **kind)  # type: ignore[arg-type]

    def counted_remove(self: CatalogStore, files: list[File]) -> None:
        for file in files:
            if next(steps) == step:
                raise Stop
            remove(self, [file])  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "publish", counted_publish)
        patched.setattr(type(store), "remove", counted_remove)
        with contextlib.suppress(Stop):
            yield


@pytest.mark.parametrize("step", range(6))
def test_a_crash_at_any_step_loses_nothing(
    tmp_path: Path, tables: Tables, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    add(store, tables, [f"org/{number}" for number in range(4)])
    compact(store, Lock())
    add(store, tables, ["org/4", "org/5"])
    expected = (6, 6, 6 * 300, 6)
    with crashing(store, monkeypatch, step):
        compact(store, Lock())
    assert counts(store) == expected
    for _ in range(3):
        compact(store, Lock())
        assert counts(store) == expected
    assert len(store.files(ROWS)) == 1


@pytest.mark.parametrize("column", ["repo", "sha", "matrix"])
def test_a_row_of_no_model_is_no_row_and_stops_nothing(tmp_path: Path, tables: Tables, column: str) -> None:
    store = open_for_writing(str(tmp_path / "catalog"))
    add(store, tables, ["a/good", "a/nameless"])
    [file] = [file for file in loose_files(store) if "nameless" in file.name]
    table = pq.read_table(file.path)
    index = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(index, table.schema.field(index), pa.array([None], pa.string())), file.path
    )
    for removed in (0, 1, 0):
        assert compact(store, Lock()).removed == removed
        with Reader(store) as reader:
            assert reader.ask("SELECT repo FROM models").rows == [("a/good",)]
    assert Path(file.path).exists()


def test_two_equal_parts_never_both_go(tmp_path: Path, tables: Tables) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    add(store, tables, ["org/a"])
    compact(store, Lock())
    compact(store, Lock())
    (part,) = store.files(ROWS)
    content = Path(part.path).read_bytes()
    store.publish(ROWS, "part-0-copy.parquet", lambda opened: opened.write(content) and None)
    assert retire(store, Lock()) == 1
    assert len(store.files(ROWS)) == 1
    assert counts(store)[:2] == (1, 1)


def test_a_damaged_or_newer_file_stays_as_it_is(filled: CatalogStore, tmp_path: Path, tables: Tables) -> None:
    newer = tables.row.append_column("invented_later", pa.array([1]))
    damaged = b"PAR1 and no more"
    filled.publish(ROWS, "x@damaged.parquet", lambda opened: opened.write(damaged) and None)
    filled.publish(ROWS, "x@newer.parquet", lambda opened: pq.write_table(newer, opened))
    for _ in range(2):
        compact(filled, Lock())
    assert [file.name for file in loose_files(filled)] == ["x@damaged.parquet", "x@newer.parquet"]


def test_a_lost_lock_removes_nothing(filled: CatalogStore) -> None:
    compact(filled, Lock())
    lost = Lock()
    lost.lose()
    assert retire(filled, lost) == 0
    assert len(loose_files(filled)) == MODELS


def attempts(run_id: str, count: int) -> pa.Table:
    from datetime import datetime

    row = {"run_id": run_id, "repo": "a/b", "revision": "main", "matrix": "output", "status": "measured", "tries": 1, "fetched_bytes": 0, "elapsed_s": 0.0, "finished_at": datetime(2026, 1, 1)}  # fmt: skip
    return pa.Table.from_pylist([row] * count, schema=arrow_schema(attempt_columns()))


def test_attempts_are_merged_by_run(uri: str) -> None:
    store = open_for_writing(uri)
    runs = {f"2026010{number}T000000": number for number in range(1, 5)}  # the same attempt may stand twice
    for run_id, count in runs.items():
        commit_attempts(store, run_id, attempts(run_id, count))
    for left in (5, 1, 1):
        compact(store, Lock())
        assert len(store.files(ATTEMPTS)) == left
        with Reader(store) as reader:
            answer = reader.ask("SELECT run_id, count(*) FROM attempts GROUP BY ALL ORDER BY 1")
            assert answer.rows == list(runs.items())


def follow(store: CatalogStore, names: str, later_s: int = 0, dead_count: int = 3) -> None:
    """A single result for each of these names."""
    for name in names:
        row = kinematics_row(source=name, dead_count=dead_count)
        row = replace(row, made_at=row.made_at + timedelta(seconds=later_s))
        commit_result(store, KIND, (name,), row)


def followed(store: CatalogStore) -> list[tuple[object, ...]]:
    with Reader(store) as reader:
        rows = reader.ask("SELECT source, dead_count FROM kinematics ORDER BY source").rows
        assert reader.damaged == []
    return rows


def test_of_a_single_result_the_newest_is_shown_wherever_it_lies(uri: str) -> None:
    store = open_for_writing(uri)
    follow(store, "abcd")
    follow(store, "b", later_s=1, dead_count=9)
    expected = [("a", 3), ("b", 9), ("c", 3), ("d", 3)]
    for left in (6, 1, 1):
        compact(store, Lock())
        assert len(store.files(KIND)) == left
        assert followed(store) == expected
    follow(store, "c", later_s=1, dead_count=8)
    for left in (2, 3, 1):
        assert followed(store) == [("a", 3), ("b", 9), ("c", 8), ("d", 3)]
        assert len(store.files(KIND)) == left
        compact(store, Lock())


def test_a_reader_of_single_results_sees_the_same_after(uri: str) -> None:
    store = open_for_writing(uri)
    follow(store, "abc")
    with Reader(store) as reader:
        for _ in range(3):
            assert reader.ask("SELECT source FROM kinematics ORDER BY source").rows == [
                ("a",),
                ("b",),
                ("c",),
            ]
            compact(store, Lock())
        assert reader.damaged == []


def test_a_result_that_is_written_while_files_are_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single results are written without the lock."""
    store = open_for_writing(str(tmp_path / "c"))
    follow(store, "ab")
    compact(store, Lock())
    remove = type(store).remove

    def late(self: CatalogStore, files: list[File]) -> None:
        follow(store, "a", later_s=1, dead_count=9)
        remove(self, files)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "remove", late)
        assert retire(store, Lock()) == 2
    assert followed(store) == [("a", 9), ("b", 3)]


@pytest.mark.parametrize("step", range(4))
def test_a_crash_at_any_step_loses_no_single_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    follow(store, "ab")
    compact(store, Lock())
    follow(store, "bc", later_s=1, dead_count=9)
    with crashing(store, monkeypatch, step):
        compact(store, Lock())
    for _ in range(4):
        assert followed(store) == [("a", 3), ("b", 9), ("c", 9)]
        compact(store, Lock())
    assert len(store.files(KIND)) == 1


def test_a_run_merges_by_itself_and_removes_what_it_merged(
    survey: Callable[..., Ran], checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["run", checkpoint("one"), checkpoint("two"), "--catalog", "c", "--executor", "serial"]
    with monkeypatch.context() as patched:
        patched.setattr("catalog.write.compact.LOOSE_FILES_DUE", 2)
        assert survey(*command).code == 0
    assert len(list(Path("c/rows").glob("part-*"))) == 1
    assert len(list(Path("c/rows").glob("*@*"))) == 0
    assert "2 models, 2 matrices" in survey("status", "--catalog", "c").out


def test_a_merge_that_fails_harms_no_run(
    survey: Callable[..., Ran], checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Compacted:
        raise CommitError("commit-failed", "c/rows/part", "cannot be written: No space left on device")

    monkeypatch.setattr("jobs.run.driver.is_due", lambda store: True)
    monkeypatch.setattr("jobs.run.driver.compact", full)
    ran = survey("run", checkpoint(), "--catalog", "c", "--executor", "serial")
    assert ran.code == 0
    assert "loose files were not merged: c/rows/part: cannot be written: No space left" in ran.err
