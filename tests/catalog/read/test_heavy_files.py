"""A file that unpacks to more memory than any of ours is left out, and the others are answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.deliveries import delivered

from catalog.read.reader import QueryLimits, Reader
from catalog.store.open import CatalogStore, open_for_writing
from catalog.write.commit import commit
from jobs.demo.checkpoints import write
from tests.conftest import little

LIMITS = QueryLimits(memory_mb=1024, rows=100)
SQL = "SELECT repo, family FROM models"


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> CatalogStore:
    folder = tmp_path_factory.mktemp("heavy")
    store = open_for_writing(str(folder / "catalog"))
    for name in ("one", "two"):
        write(little(name), folder / name)
        commit(store, delivered(folder / name).tables)
    return store


@pytest.fixture
def file(committed: CatalogStore) -> Iterator[Path]:
    path = Path(committed.files("rows")[0].path)
    whole = path.read_bytes()
    yield path
    path.write_bytes(whole)


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


@pytest.mark.parametrize("column", ["repo", "family"])
def test_a_file_that_unpacks_to_gigabytes_is_named_and_the_others_are_answered(
    committed: CatalogStore, file: Path, column: str
) -> None:
    _repeated(file, column, "x" * (16 << 20), 200)
    assert file.stat().st_size < 1 << 20
    with Reader(committed, LIMITS) as reader:
        assert len(reader.ask(SQL).rows) == 1
        [left_out] = reader.left_out
    assert left_out.file.path == str(file)
    assert "takes more than 1,024 MB of memory" in left_out.problem


def test_a_long_text_by_itself_is_no_reason_to_leave_a_file_out(committed: CatalogStore, file: Path) -> None:
    _repeated(file, "family", "x" * 1000, 200)
    with Reader(committed, LIMITS) as reader:
        assert len(reader.ask(SQL).rows) == 2
        assert not reader.left_out
