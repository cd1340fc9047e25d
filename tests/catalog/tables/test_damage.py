"""An unreadable file is not a damaged one; damage is proved; a file is removed only if its replacement holds all of it."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import Ran
from support.s3 import S3, Fault
from support.single_results import kinematics_row

from catalog.files import ROWS, TOKENS, End, File, NoEnd, is_part, loose_files
from catalog.read.reader import Reader
from catalog.store.duckdb_object_store import StoreFiles
from catalog.store.lock import Lock
from catalog.store.object_store import ObjectStore
from catalog.store.object_store_errors import Unreadable
from catalog.store.open import CatalogStore, open_for_writing
from catalog.tables import damage
from catalog.tables.damage import Examined, examine
from catalog.write.arrow_tables import Tables
from catalog.write.commit import commit, commit_result, tokens_parquet
from catalog.write.compact import compact
from catalog.write.retire import retire
from jobs.single_results.commit import commit_row
from survey.errors import CommitError, UsageError
from tests.bench.catalog import rows

Make = Callable[..., Path]
Survey = Callable[..., Ran]
MODELS = 4


def measured(number: int, when: datetime, **values: object) -> Tables:
    """A synthetic row of that time, with these values."""
    table = rows(number, 1, 8)
    for name, value in ({"measured_at": when} | values).items():
        kind = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), kind, pa.array([value], kind.type))
    return Tables(table, None)


NOW = datetime.now(UTC).replace(tzinfo=None)


@pytest.fixture
def filled(uri: str) -> CatalogStore:
    store = open_for_writing(uri)
    for number in range(MODELS):
        commit(store, measured(number, NOW))
    return store


def content_of(store: CatalogStore, file: File) -> bytes:
    copy = io.BytesIO()
    store.copy(file, copy)
    return copy.getvalue()


def put(store: CatalogStore, file: File, content: bytes) -> None:
    store.publish(file.folder, file.name, lambda opened: opened.write(content) and None)


def now_there(store: CatalogStore, file: File) -> File:
    return next(one for one in store.files(file.folder) if one.name == file.name)


def flipped(content: bytes) -> bytes:
    """Another last byte of the largest column: of its values, as pages' headers have no checksum."""
    group = pq.read_metadata(io.BytesIO(content)).row_group(0)
    column = max(map(group.column, range(group.num_columns)), key=lambda column: column.total_compressed_size)
    last = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 1
    return content[:last] + bytes([content[last] ^ 0xFF]) + content[last + 1 :]


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda content: b"",
    "cut": lambda content: content[:-100],
    "a byte is another": flipped,
    "zeros in the middle": lambda content: content[:2000] + bytes(4000) + content[6000:],
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_proved_broken(filled: CatalogStore, change: Callable[[bytes], bytes]) -> None:
    file = filled.files(ROWS)[0]
    assert examine(filled, file).fate == "sound"
    put(filled, file, change(content_of(filled, file)))
    assert examine(filled, now_there(filled, file)).fate == "damaged"


def test_what_is_gone_is_gone(filled: CatalogStore) -> None:
    file = filled.files(ROWS)[0]
    filled.remove([file])
    assert examine(filled, file).fate == "gone"


READS = ["AccessDenied", "InternalError", "reset"]


@pytest.mark.parametrize("code", READS)
def test_a_read_that_a_bucket_fails_says_nothing_about_the_file(s3: S3, bucket: str, code: str) -> None:
    store = open_for_writing(bucket)
    for number in range(2):
        commit(store, measured(number, NOW))
    file = store.files(ROWS)[0]
    s3.faults.append(Fault(code, "GET", contains=file.name, times=None))
    assert examine(store, file).fate == "unreadable"
    with Reader(store) as reader:
        assert reader.ask("SELECT count(*) FROM models").rows == [(1,)]
        assert reader.damaged == []
        assert [(item.file.name, item.fate) for item in reader.left_out] == [(file.name, "unreadable")]


def test_bytes_that_come_with_another_checksum_say_nothing_about_the_file(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_for_writing(bucket)
    commit(store, measured(0, NOW))
    (file,) = store.files(ROWS)
    read, looks = ObjectStore.read_range, []

    def garbled(self: ObjectStore, file: File, start: int, stop: int) -> bytes:
        looks.append(start)
        content = read(self, file, start, stop)
        return flipped(content) if len(looks) == 1 else content[:-1] + bytes([len(looks)])

    monkeypatch.setattr(ObjectStore, "read_range", garbled)
    opinion = examine(store, file)
    assert (opinion.fate, len(looks)) == ("unreadable", 2)
    assert "checksum" in opinion.problem


@pytest.mark.parametrize(
    ("change", "fate"), [(bytes, "sound"), (flipped, "damaged")], ids=["whole", "broken"]
)
def test_two_equal_copies_of_an_encrypted_object_count(
    bucket: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes], fate: str
) -> None:
    """With SSE-KMS or SSE-C its ETag has the form of an MD5 and is none."""
    store = open_for_writing(bucket)
    commit(store, measured(0, NOW))
    (file,) = store.files(ROWS)
    put(store, file, change(content_of(store, file)))
    listed = ObjectStore.files

    def encrypted(self: ObjectStore, folder: str) -> list[File]:
        return [replace(one, version=f'{one.size}|"{"0" * 31}1"') for one in listed(self, folder)]

    monkeypatch.setattr(ObjectStore, "files", encrypted)
    assert examine(store, file).fate == fate


HERE_ONLY = {
    "no memory": pa.ArrowMemoryError("malloc of size 1 failed"),
    "no codec": pa.ArrowNotImplementedError("Support for codec 'lz4' not built"),
    "no memory in Python": MemoryError(),
    "no memory in thrift": OSError("Couldn't deserialize thrift: std::bad_alloc"),
    "no memory in a codec": OSError("ZSTD decompression failed: Cannot allocate memory"),
    "no such decoder": OSError("Not yet implemented: Decoding of a new kind"),
    "the copy cannot be read": OSError(5, "Input/output error"),
}


@pytest.mark.parametrize("error", HERE_ONLY.values(), ids=HERE_ONLY)
def test_what_only_fails_here_says_nothing_about_the_file(
    filled: CatalogStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", failing)
    assert examine(filled, filled.files(ROWS)[0]).fate == "unreadable"


def test_of_what_the_survey_writes_nothing_is_called_damaged(committed: CatalogStore, tmp_path: Path) -> None:
    """Also per-token tables with texts: each is stored by what it has in common with the one before."""
    store = open_for_writing(str(tmp_path))
    for folder in (ROWS, TOKENS):
        [file, _] = committed.files(folder)
        table = pq.read_table(file.path)
        if folder == TOKENS:
            texts = pa.array([f"a text {number}" for number in range(len(table))])
            table = table.set_column(table.schema.get_field_index("text"), "text", texts)
        store.publish(folder, file.name, tokens_parquet(table))
        [stored] = store.files(folder)
        assert examine(store, stored) == Examined("sound")


@pytest.mark.parametrize("attempt", [compact, retire])
def test_a_range_that_fails_while_files_are_merged_or_removed_is_named_and_removes_nothing(
    bucket: str, monkeypatch: pytest.MonkeyPatch, attempt: Callable[[CatalogStore, Lock], object]
) -> None:
    for number in range(2):
        commit(open_for_writing(bucket), measured(number, NOW))
    if attempt is retire:
        compact(open_for_writing(bucket), Lock())
    store = open_for_writing(bucket)
    opened = StoreFiles.opened_for_arrow

    def failing(self: StoreFiles, file: File) -> object:
        def unreadable(*_: object) -> bytes:
            raise Unreadable("InternalError was ordered")

        monkeypatch.setattr(StoreFiles, "_between", unreadable)
        return opened(self, file)

    with monkeypatch.context() as patched:
        patched.setattr(StoreFiles, "opened_for_arrow", failing)
        with pytest.raises(CommitError, match="InternalError was ordered"):
            attempt(store, Lock())
    assert len(loose_files(store)) == 2


@pytest.mark.parametrize("turns", [1, 2])
def test_a_part_that_cannot_be_read_for_a_while_does_not_lose_to_an_older_one(uri: str, turns: int) -> None:
    store = open_for_writing(uri)

    def compacted_without(hidden: str) -> None:
        with pytest.MonkeyPatch.context() as patched:
            ends = type(store).ends

            def some(self: CatalogStore, files: Sequence[File]) -> Iterator[End | NoEnd]:
                file_ends = ends(self, files)  # type: ignore[arg-type]
                for file, end in zip(files, file_ends, strict=True):
                    yield NoEnd("cannot be read: for now") if file.name == hidden else end

            patched.setattr(type(store), "ends", some)
            for _ in range(turns):
                compact(open_for_writing(uri), Lock())

    commit(store, measured(0, NOW, centroid_ratio=1.0))
    for _ in range(2):
        compact(store, Lock())
    (older,) = store.files(ROWS)
    commit(store, measured(0, NOW + timedelta(seconds=1), centroid_ratio=2.0))
    compacted_without(older.name)
    compacted_without(older.name)
    newer = max(store.files(ROWS), key=lambda file: (is_part(file), file.name))
    commit(store, measured(1, NOW, centroid_ratio=3.0))
    compacted_without(newer.name)
    for _ in range(3):
        compact(open_for_writing(uri), Lock())
        with Reader(open_for_writing(uri)) as reader:
            assert reader.ask("SELECT centroid_ratio FROM models ORDER BY 1").rows == [(2.0,), (3.0,)]


def test_a_run_that_cannot_read_a_part_does_nothing(
    s3: S3, bucket: str, survey: Survey, checkpoint: Make
) -> None:
    store = open_for_writing(bucket)
    for number in range(2):
        commit(store, measured(number, NOW))
    for _ in range(2):
        compact(store, Lock())
    (part,) = store.files(ROWS)
    s3.faults.append(Fault("AccessDenied", "GET", contains=part.name, times=None))
    ran = survey("run", checkpoint(), "--catalog", bucket, "--executor", "serial")
    assert ran.code == 2
    assert f"{part.shown}: cannot be read: permission denied" in ran.err
    assert "Nothing was done" in ran.err
    assert [file.name for file in store.files(ROWS)] == [part.name]
    assert store.files("damaged") == []


def test_a_broken_row_in_a_bucket_is_set_aside_after_a_second_look_and_the_run_says_so(
    s3: S3, bucket: str, survey: Survey, checkpoint: Make
) -> None:
    command = ["run", checkpoint(), "--catalog", bucket, "--executor", "serial"]
    assert survey(*command).code == 0
    store = open_for_writing(bucket)
    (row,) = store.files(ROWS)
    put(store, row, content_of(store, row)[:-100])
    s3.requests.clear()
    ran = survey(*command)
    assert ran.code == 1
    assert f"{row.name}: not a whole Parquet file; set aside in damaged/" in ran.err
    assert "1 measured" in ran.out
    assert sum(method == "GET" and path.endswith(row.name) for method, path in s3.requests) >= 2
    assert [file.name for file in store.files("damaged")] == [f"rows-{row.name}"]
    assert survey(*command).code == 0


REFUSALS = {
    "no Hub answers": ["org/model", "--endpoint", "http://127.0.0.1:9"],
    "a disk is full": ["MODEL"],
}


@pytest.mark.parametrize("name", REFUSALS)
def test_files_that_were_set_aside_are_named_though_the_run_then_fails(
    survey: Survey, checkpoint: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = checkpoint()
    survey("run", model, "--catalog", "c", "--executor", "serial")
    (row,) = Path("c/rows").iterdir()
    row.write_bytes(row.read_bytes()[:-100])
    models = [str(model) if word == "MODEL" else word for word in REFUSALS[name]]
    if name == "a disk is full":

        def fail(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("jobs.run.driver.make_plan", fail)
    ran = survey("run", *models, "--catalog", "c", "--executor", "serial")
    assert ran.code == 2
    assert f"{row.name}: not a whole Parquet file; set aside in damaged/" in ran.err
    assert [path.name for path in Path("c/damaged").iterdir()] == [f"rows-{row.name}"]


@pytest.fixture
def as_nobody() -> Callable[[], None]:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    return lambda: os.seteuid(65534)


def open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


def run_of(catalog: Path) -> list[str]:
    model = catalog.parent / "model"
    return ["run", str(model), "--catalog", str(catalog), "--executor", "serial"]


@pytest.fixture
def shared_catalog(survey: Survey, checkpoint: Make) -> Iterator[Path]:
    """A catalog with the row of the model beside it, where every user may write."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder, "c")
        shutil.copytree(checkpoint(), Path(folder, "model"))
        assert survey(*run_of(catalog)).code == 0
        open_to_all(Path(folder))
        yield catalog


def test_another_user_s_row_stays_and_is_not_measured_again(
    survey: Survey, shared_catalog: Path, as_nobody: Callable[[], None]
) -> None:
    command = run_of(shared_catalog)
    (row,) = (shared_catalog / "rows").iterdir()
    before = row.read_bytes()
    row.chmod(0o600)
    try:
        as_nobody()
        answer = survey(
            "sql", "SELECT 1 AS one FROM models", "--catalog", str(shared_catalog), "--format", "csv"
        )
        runs = [survey(*command), survey(*command, "--resurvey")]
    finally:
        os.seteuid(0)
    assert (answer.code, answer.out) == (0, "one\n")
    assert f"{row.name}: cannot be read: Permission denied; left out" in answer.err
    for ran in runs:
        assert ran.code == 1
        assert "is there and cannot be read\n    → let this user read it" in ran.out
    assert row.read_bytes() == before
    assert not (shared_catalog / "damaged").exists()


def test_a_damaged_row_that_cannot_be_moved_stops_no_other(
    survey: Survey, checkpoint: Make, as_nobody: Callable[[], None]
) -> None:
    """In a folder with the sticky bit, as /tmp has it, only its owner can move a file."""
    with tempfile.TemporaryDirectory() as shared:
        catalog = Path(shared, "catalog")
        models = [shutil.copytree(checkpoint(name), Path(shared, name)) for name in ("a", "b", "c")]
        more = ["--catalog", str(catalog), "--executor", "serial"]
        assert survey("run", *models[:2], *more).code == 0
        open_to_all(Path(shared))
        for row in (rows := sorted((catalog / "rows").iterdir())):
            row.write_bytes(row.read_bytes()[:-100])
        os.chown(rows[1], 65534, 65534)
        (catalog / "rows").chmod(0o1777)
        try:
            as_nobody()
            ran = survey("run", *models, *more)
        finally:
            os.seteuid(0)
        assert (ran.code, "2 measured, 0 unchanged, 1 failed" in ran.out) == (1, True), ran
        assert f"{rows[1].name}: not a whole Parquet file; set aside in damaged/" in ran.err
        assert re.search(
            f"{rows[0].name}: not a whole Parquet file; .*move it out of the catalog yourself", ran.err
        )
        assert rows[0].exists()
        rows[0].rename(Path(shared, "moved"))
        assert "1 measured, 2 unchanged, 0 failed" in survey("run", *models, *more).out


def test_a_tokens_file_that_cannot_be_read_is_no_reason_to_read_the_matrix_again(
    survey: Survey, shared_catalog: Path, as_nobody: Callable[[], None]
) -> None:
    command = run_of(shared_catalog)
    next((shared_catalog / "tokens").iterdir()).chmod(0o600)
    try:
        as_nobody()
        ran = survey(*command)
    finally:
        os.seteuid(0)
    assert ran.code == 0
    assert "0 measured, 1 unchanged" in ran.out
    assert "cannot be read: Permission denied; left out" in ran.err


def test_a_catalog_that_may_not_be_entered_is_one_line(survey: Survey, as_nobody: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory() as shared:
        Path(shared, "c").mkdir()
        Path(shared).chmod(0o700)
        try:
            as_nobody()
            commands = (["sql", "SELECT 1 AS one"], ["compact"], ["status"])
            said = [survey(*command, "--catalog", f"{shared}/c") for command in commands]
        finally:
            os.seteuid(0)
    for ran in said:
        assert (ran.code, ran.err) == (
            2,
            f"survey: the catalog {shared}/c cannot be read: Permission denied\n",
        )


def test_a_part_that_lacks_a_value_replaces_nothing(filled: CatalogStore) -> None:
    """As if compaction had lost it: black holes, vectors, exponents and figures alike."""
    compact(filled, Lock())
    (part,) = (file for file in filled.files(ROWS) if is_part(file))
    whole = content_of(filled, part)
    table = pq.read_table(pa.BufferReader(whole))
    for name in ("black_holes", "centroid", "exponents_dead", "dead_count", "tags"):
        lost = pa.array([table[name][0].as_py(), *[None] * (MODELS - 1)], table.schema.field(name).type)
        lacking = table.set_column(table.schema.get_field_index(name), table.schema.field(name), lost)
        filled.publish(ROWS, part.name, _written(lacking))
        for attempt in (retire, compact):
            with pytest.raises(CommitError, match=r"does not hold .* nothing was removed"):
                attempt(filled, Lock())
        assert len(loose_files(filled)) == MODELS
    put(filled, part, whole)
    assert retire(filled, Lock()) == MODELS


def _written(table: pa.Table) -> Callable[[IO[bytes]], None]:
    return lambda opened: pq.write_table(table, opened)


def test_a_run_says_that_nothing_was_removed(survey: Survey, checkpoint: Make) -> None:
    command = ["run", checkpoint(), "--catalog", "c", "--executor", "serial"]
    assert survey(*command).code == 0
    assert survey("compact", "--catalog", "c").code == 0
    (part,) = Path("c/rows").glob("part-*")
    table = pq.read_table(part)
    field = table.schema.field("black_holes")
    pq.write_table(table.set_column(table.schema.get_field_index(field.name), field, pa.nulls(1, field.type)), part)  # fmt: skip
    ran = survey(*command)
    assert "files that were merged are kept" in ran.err
    assert "nothing was removed" in ran.err
    assert survey("compact", "--catalog", "c").code == 2
    answer = survey("sql", "SELECT count(*) AS n FROM black_holes", "--catalog", "c", "--format", "csv")
    assert answer.out == "n\n3\n"  # the loose row is shown, not the part's


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=36500)], ids=["a day", "a century"])
def test_a_clock_that_is_ahead_neither_hides_nor_removes_what_comes_later(uri: str, ahead: timedelta) -> None:
    store = open_for_writing(uri)

    def shown() -> list[object]:
        with Reader(store) as reader:
            return [ratio for (ratio,) in reader.ask("SELECT DISTINCT centroid_ratio FROM models").rows]

    for turn, when in enumerate((NOW + ahead, NOW, NOW - ahead, NOW)):
        for number in range(2):
            commit(store, measured(number, when, centroid_ratio=float(turn)))
        for _ in range(3):
            assert shown() == [float(turn)]
            compact(store, Lock())
        assert shown() == [float(turn)]
        assert len(store.files(ROWS)) == 1


def test_parts_are_in_order_although_the_clock_was_ahead_when_one_was_made(uri: str) -> None:
    store = open_for_writing(uri)
    commit(store, measured(0, NOW, centroid_ratio=1.0))
    compact(store, Lock())
    compact(store, Lock())
    (part,) = store.files(ROWS)
    future = replace(part, name="part-20991231T235959999999-000.parquet")
    put(store, future, content_of(store, part))
    store.remove([part])
    commit(store, measured(0, NOW + timedelta(seconds=1), centroid_ratio=2.0))
    for _ in range(3):
        with Reader(store) as reader:
            assert reader.ask("SELECT centroid_ratio FROM models").rows == [(2.0,)]
        compact(store, Lock())
    assert [file.name > future.name for file in store.files(ROWS)] == [True]


@pytest.mark.parametrize("merged", [False, True], ids=["loose", "merged"])
def test_a_single_result_that_comes_later_is_shown_whatever_the_clock_of_the_first(
    uri: str, merged: bool
) -> None:
    store = open_for_writing(uri)
    future = kinematics_row(source="a", dead_count=1, made_at=NOW + timedelta(days=1))
    commit_result(store, "kinematics", ("a",), future)
    commit_result(store, "kinematics", ("b",), kinematics_row(source="b", dead_count=1, made_at=NOW))
    for _ in range(2 * merged):
        compact(store, Lock())
    commit_row(store, "kinematics", ("a",), kinematics_row(source="a", dead_count=2))
    for _ in range(3):
        with Reader(store) as reader:
            rows = reader.ask("SELECT source, dead_count FROM kinematics ORDER BY source").rows
        assert rows == [("a", 2), ("b", 1)]
        compact(store, Lock())


def _repeated(text: str) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([text]))


BOMBS: dict[str, tuple[Callable[[], pa.Array], str]] = {
    "one text stands for a thousand": (lambda: _repeated("x" * 4_000_000), "foreign"),
    "all of them in one row": (
        lambda: pa.ListArray.from_arrays([0, 1000], _repeated("x" * 4_000_000)),
        "foreign",
    ),
    "its numbers take more than any of ours": (lambda: pa.array(range(1000)), "unreadable"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_second_opinion_on_a_file_that_unpacks_to_gigabytes_takes_little_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_for_writing(str(tmp_path))
    column, fate = BOMBS[name]
    if fate == "unreadable":
        monkeypatch.setattr(damage, "MAX_UNPACKED_BYTES", 10)
    table = pa.table({"repo": column()})
    path = tmp_path / ROWS / "part-20260101T000000000000-000.parquet"
    pq.write_table(table, path, compression="zstd", store_schema=False)
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    assert examine(store, store.files(ROWS)[0]).fate == fate
    assert pool.max_memory() - before < 1 << 30


def test_a_full_disk_for_the_copy_says_nothing_about_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_for_writing(str(tmp_path))
    pq.write_table(pa.table({"repo": ["a"]}), tmp_path / ROWS / "part-20260101T000000000000-000.parquet")

    def copy(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("catalog.store.local.LocalFolder.copy", copy)
    with pytest.raises(UsageError, match="has no room to examine"):
        examine(store, store.files(ROWS)[0])
