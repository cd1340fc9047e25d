"""Rows come in pieces, and no more of them than memory is left for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from catalog.read.pieces import in_pieces
from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from survey.errors import UsageError

# Without the check the process crashes now and then: DuckDB's binding goes on with objects that do not exist.
FILL = """
import resource, sys
from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from survey.errors import UsageError
with Reader(open_for_reading(sys.argv[1])) as reader:
    reader.ask("SELECT 1")
    resource.setrlimit(resource.RLIMIT_DATA, (400 << 20, resource.RLIM_INFINITY))
    try:
        reader.ask("SELECT range, range + 1 AS y FROM range(20000000)")
    except UsageError as error:
        print(error)
    print(reader.ask("SELECT 1 AS a").rows)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the memory of a process from /proc")
def test_rows_that_fill_the_memory_are_refused_short_of_it(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "the answer takes more memory than there is: ask for less\n[(1,)]\n"


def test_memory_that_a_parquet_answer_lacks_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(writer: object, table: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", fail)
    with (
        Reader(open_for_reading(str(tmp_path))) as reader,
        pytest.raises(UsageError, match="more memory than there is"),
    ):
        reader.ask_parquet("SELECT 1 AS a")


@pytest.mark.parametrize("kind", ["INTEGER", "DECIMAL(4, 1)", "INTEGER[]", "STRUCT(a INTEGER)"])
@pytest.mark.parametrize("count", [0, 1, 256, 1000])
def test_all_rows_come_in_their_order(kind: str, count: int) -> None:
    value = {"INTEGER[]": "[range]", "STRUCT(a INTEGER)": "{'a': range}"}.get(kind, "range")
    sql = f"SELECT {value}::{kind} AS x FROM range({count})"
    with duckdb.connect() as connection:
        whole = connection.execute(sql).fetchall()
        pieces = in_pieces(connection.execute(sql))
        assert (pieces.names, pieces.types) == (["x"], [kind.replace(", ", ",")])
        assert [row for piece in pieces.rows for row in piece] == whole
