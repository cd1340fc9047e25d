"""What is not ours never counts: it is named, and no answer, run or compaction takes it for a row."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.commands import Ran
from support.deliveries import delivered
from support.little_models import little

from catalog.files import ATTEMPTS, ROWS, TOKENS, file_key
from catalog.read.reader import Reader
from catalog.schema_of_records import row_columns
from catalog.store.lock import Lock
from catalog.store.open import CatalogStore, open_for_writing
from catalog.tables.versions import MARK, file_schema, mark_of
from catalog.write.arrow_tables import Tables
from catalog.write.commit import commit
from catalog.write.compact import compact
from jobs.demo.checkpoints import write

Make = Callable[..., Path]
Survey = Callable[..., Ran]
QUERIES = (
    "SELECT count(*) FROM models",
    "SELECT count(*), sum(population) FROM black_holes",
    "SELECT count(centroid), count(dead_centroid) FROM vectors",
    "SELECT count(*) FROM exponents",
    "SELECT count(*), count(DISTINCT repo) FROM tokens",
    "SELECT count(*) FROM attempts",
)


def name_as_ours(number: int) -> str:
    return f"{file_key(f'org/foreign{number}', '0' * 40, 'output')}.parquet"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Tables]:
    """Two little models."""
    folders = [tmp_path_factory.mktemp("checkpoints") / name for name in ("one", "two")]
    for folder in folders:
        write(little(folder.name), folder)
    return [delivered(folder).tables for folder in folders]  # type: ignore[misc]


@pytest.fixture
def filled(uri: str, measured: list[Tables]) -> CatalogStore:
    store = open_for_writing(uri)
    for tables in measured:
        commit(store, tables)
    return store


Answers = list[list[tuple[object, ...]]]
Fates = list[tuple[str, str]]


def read(store: CatalogStore) -> tuple[Answers, Fates]:
    """What a reader answers, and the files that it leaves out, with their fates."""
    with Reader(store) as reader:
        answers = [reader.ask(sql).rows for sql in QUERIES]
        return answers, sorted((item.file.name, item.fate) for item in reader.left_out)


def put(store: CatalogStore, folder: str, name: str, table: pa.Table) -> None:
    store.publish(folder, name, lambda opened: pq.write_table(table, opened))


def export(store: CatalogStore, sql: str) -> pa.Table:
    with Reader(store) as reader:
        return pq.read_table(pa.BufferReader(reader.ask_parquet(sql)))


def nested(table: pa.Table, depth: int) -> pa.Table:
    """The table with a column of lists within lists."""
    array = pa.array([1])
    for _ in range(depth):
        array = pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), array)
    return table.slice(0, 1).append_column("deep", array)


def with_type(table: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))


FOREIGN: dict[str, Callable[[CatalogStore], pa.Table]] = {
    "an export of models": lambda store: export(store, "SELECT * FROM models"),
    "fewer columns": lambda store: export(store, "SELECT * EXCLUDE (centroid) FROM measured_rows"),
    "one more column": lambda store: export(store, "SELECT *, 1 AS mine FROM measured_rows"),
    "another type": lambda store: with_type(
        export(store, "SELECT * FROM measured_rows"), "dead_count", pa.float64()
    ),
    "other columns": lambda store: pa.table({"answer": [42]}),
    "no rows": lambda store: file_schema(ROWS).empty_table(),
    "a column of lists in lists in lists": lambda store: nested(
        export(store, "SELECT * FROM measured_rows"), 60
    ),
    "ours without a column, with the mark of ours": lambda store: export(
        store, "SELECT * EXCLUDE (dead_count), 1 AS mine FROM measured_rows"
    ).replace_schema_metadata(file_schema(ROWS).metadata),
}


@pytest.mark.parametrize(
    "name", ["export-{}.parquet".format, name_as_ours], ids=["their own names", "names as ours"]
)
def test_tables_that_are_not_ours_are_named_and_never_count(
    filled: CatalogStore, name: Callable[[int], str]
) -> None:
    before, _ = read(filled)
    tables = {name(number): make(filled) for number, make in enumerate(FOREIGN.values())}
    for file_name, table in tables.items():
        put(filled, ROWS, file_name, table)
    for _ in range(3):
        assert read(filled) == (before, [(file_name, "foreign") for file_name in sorted(tables)])
        done = compact(filled, Lock())
        assert sorted(item.file.name for item in done.left_out) == sorted(tables)
    assert tables.keys() <= {
        file.name for file in filled.files(ROWS)
    }  # nobody else's file is moved or removed


@pytest.mark.parametrize("folder", [TOKENS, ATTEMPTS, "kinematics"])
def test_so_it_is_in_every_folder(filled: CatalogStore, folder: str) -> None:
    before, _ = read(filled)
    put(filled, folder, "export.parquet", export(filled, "SELECT * FROM models"))
    for _ in range(2):
        assert read(filled)[0] == before
        with Reader(filled) as reader:
            assert reader.ask("SELECT count(*) FROM kinematics").rows == [(0,)]
        compact(filled, Lock())


OURS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "as today's": lambda table: table,
    "without the mark, as yesterday's": lambda table: table.replace_schema_metadata(None),
    "without a column that came later": lambda table: table.drop_columns(
        ["reference_rows"]
    ).replace_schema_metadata(None),
}


@pytest.mark.parametrize("change", OURS.values(), ids=OURS)
def test_a_table_of_ours_counts_whatever_version_wrote_it(
    filled: CatalogStore, change: Callable[[pa.Table], pa.Table]
) -> None:
    before, _ = read(filled)
    file = filled.files(ROWS)[0]
    list(filled.ends([file]))
    with filled.open(file) as opened:
        table = pq.read_table(opened)
    put(filled, ROWS, file.name, change(table))
    for _ in range(3):
        assert read(filled) == (before, [])
        compact(filled, Lock())
    assert len(filled.files(ROWS)) == 1


def test_a_newer_version_s_table_is_shown_and_never_merged(filled: CatalogStore) -> None:
    file = filled.files(ROWS)[0]
    list(filled.ends([file]))
    with filled.open(file) as opened:
        table = pq.read_table(opened)
    types = {column.name: column.sql_type for column in row_columns()} | {"invented_later": "BIGINT"}
    newer = table.append_column("invented_later", pa.array([1])).replace_schema_metadata(
        {MARK: mark_of(ROWS, types)}
    )
    before, _ = read(filled)
    put(filled, ROWS, file.name, newer)
    for _ in range(3):
        assert read(filled) == (before, [])
        compact(filled, Lock())
        assert file.name in [one.name for one in filled.files(ROWS)]


def test_a_file_with_every_column_of_ours_is_marked(filled: CatalogStore) -> None:
    for folder in (ROWS, TOKENS):
        for file in filled.files(folder):
            list(filled.ends([file]))
            with filled.open(file) as opened:
                assert pq.read_metadata(opened).metadata[MARK] == file_schema(folder).metadata[MARK]


def link(path: Path) -> None:
    path.symlink_to("nowhere.parquet")


def bind(path: Path) -> None:
    folder = os.getcwd()
    os.chdir(path.parent)  # a socket's path has 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(folder)


STRANGE: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to nothing": link,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a socket": bind,
}
NAMES = (
    "x.parquet",
    name_as_ours(0),
    "part-20260101T000000000000-000.parquet",
    "a\nb\x1b[31m.parquet",
    "*.parquet",
)


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_file_is_named_and_stops_nothing(
    tmp_path: Path, measured: list[Tables], make: Callable[[Path], object]
) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    commit(store, measured[0])
    before, _ = read(store)
    for name in NAMES:
        make(tmp_path / "c" / ROWS / name)
        make(tmp_path / "c" / ATTEMPTS / name)
    for _ in range(2):
        answers, fates = read(store)
        assert answers == before
        assert fates == sorted((name, "foreign") for name in (*NAMES, *NAMES))
        compact(store, Lock())


def test_names_of_any_bytes_are_printed_in_one_line(survey: Survey, checkpoint: Make) -> None:
    command = ["run", checkpoint(), "--catalog", "c", "--executor", "serial"]
    assert survey(*command).code == 0
    for name in (b"caf\xe9.parquet", b"a\nsurvey: all is well\x1b[2J.parquet", b"part-\xff.parquet"):
        Path(os.fsdecode(b"c/rows/" + name)).write_bytes(b"PAR1")
    query = ["sql", "SELECT count(*) AS models FROM models", "--catalog", "c"]
    for ran in (survey(*query), survey("compact", "--catalog", "c"), survey(*command)):
        assert ran.code == 0
        lines = ran.err.splitlines()
        assert len(lines) == 3
        assert all(line.startswith("survey: /") and line.isprintable() for line in lines)
    # Theirs stay; of ours there is a part: what it was made of went when the run began.
    assert len(list(Path("c/rows").iterdir())) == 3 + 1
