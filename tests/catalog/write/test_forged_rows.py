"""Rows with values that no version of the survey wrote: none of them stops a run, or another row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.deliveries import delivered
from support.little_models import little
from support.single_results import kinematics_row

from catalog.read.measured import RowKey, read_measured
from catalog.read.reader import Reader
from catalog.schema_of_records import arrow_schema, stored_result_columns
from catalog.store.lock import catalog_lock
from catalog.store.open import CatalogStore, open_for_writing
from catalog.write.backfill import fill
from catalog.write.commit import commit, commit_result
from catalog.write.compact import compact
from catalog.write.stored_matrix import read_stored
from jobs.demo.checkpoints import write
from jobs.single_results.commit import commit_row
from survey.errors import CommitError

VOCAB_ROWS = 300  # of a little model
_FIRST_OF_DUCKDB = -9_223_372_022_400_000_000
TIMES = {
    "before-the-first-of-duckdb": _FIRST_OF_DUCKDB - 1,
    "the-first-of-duckdb": _FIRST_OF_DUCKDB,
    "infinite": 2**63 - 1,
    "minus-infinite": 1 - 2**63,
    "before-the-first-year": -62_135_596_800_000_001,
    "the-last-of-python": 253_402_300_799_999_999,
    "after-the-last-year": 253_402_300_800_000_000,
    "none": None,
}


@pytest.fixture(scope="module")
def _sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    store = open_for_writing(str(folder / "catalog"))
    for name in ("good", "twin"):
        write(little(name), folder / name)
        commit(store, delivered(folder / name).tables)
        commit_result(store, "kinematics", (name,), kinematics_row(source=name))
    return folder / "catalog"


@pytest.fixture
def store(_sound: Path, tmp_path: Path) -> CatalogStore:
    """A catalog with a row, its tokens and a single result; a twin of each is to be forged."""
    shutil.copytree(_sound, tmp_path / "catalog")
    return open_for_writing(str(tmp_path / "catalog"))


def forge(store: CatalogStore, folder: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write the forged row's file of a folder anew."""
    [file] = [file for file in store.files(folder) if "twin" in file.name]
    pq.write_table(change(pq.read_table(file.path)), file.path)


def with_value(column: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        field = table.schema.field(column)
        values = pa.array(
            [value] * len(table), pa.int64() if pa.types.is_timestamp(field.type) else field.type
        )
        return table.set_column(table.schema.get_field_index(column), field, values.cast(field.type))

    return change


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
def test_a_time_that_nobody_can_read_is_missing_and_stops_nothing(
    store: CatalogStore, time: int | None
) -> None:
    for column in ("measured_at", "last_modified"):
        forge(store, "rows", with_value(column, time))
    forge(store, "kinematics", with_value("made_at", time))
    with Reader(store) as reader:
        ask = "SELECT ends_with(repo, 'good'), measured_at IS NULL, last_modified IS NULL FROM models ORDER BY 1"
        assert [row[1:] for row in reader.ask(ask).rows] == [(True, True), (False, True)]
        assert reader.ask("SELECT source FROM kinematics WHERE made_at IS NULL").rows == [("twin",)]
        assert len(reader.ask("SELECT * FROM models_history").rows) == 2
        assert len(read_measured(reader).rows) == 2
    with catalog_lock(store) as lock:
        assert compact(store, lock).merged == 4
        assert compact(store, lock).removed == 4
    commit_row(store, "kinematics", ("twin",), kinematics_row(source="anew"))
    with Reader(store) as reader:
        assert len(reader.ask("SELECT * FROM models").rows) == 2
        assert reader.ask("SELECT source FROM kinematics ORDER BY 1").rows == [("anew",), ("good",)]


def _key(store: CatalogStore, name: str) -> RowKey:
    with Reader(store) as reader:
        [key] = reader.ask(
            f"SELECT repo, sha, matrix FROM measured_rows WHERE ends_with(repo, '{name}')"
        ).rows
    return key[0], key[1], key[2]


def test_a_row_without_versions_of_measures_was_made_by_none(store: CatalogStore) -> None:
    forge(store, "rows", with_value("measures", None))
    with Reader(store) as reader:
        rows = read_measured(reader).rows
    assert not rows[_key(store, "twin")].measures
    assert rows[_key(store, "good")].measures


HOLE = {"rank": 1, "population": 2, "norm": 0.0, "angle_to_live_deg": None, "token_ids": [0, 1]}
ROWS: dict[str, tuple[str, Any]] = {
    "no-size": ("vocab_rows", None),
    "a-negative-size": ("vocab_rows", -1),
    "a-size-beyond-all-memory": ("vocab_rows", 2**62),
    "another-size": ("vocab_rows", VOCAB_ROWS + 1),
    "no-black-holes": ("black_holes", None),
    "a-black-hole-that-is-none": ("black_holes", [None]),
    "a-black-hole-of-nothing": ("black_holes", [HOLE | {"token_ids": None}]),
    "a-token-that-is-none": ("black_holes", [HOLE | {"token_ids": [None]}]),
    "a-token-beyond-the-matrix": ("black_holes", [HOLE | {"token_ids": [VOCAB_ROWS]}]),
    "a-token-before-it": ("black_holes", [HOLE | {"token_ids": [-1]}]),
    "a-population-that-is-none": ("undertrained_populations", [None]),
}


def _of_long_text(table: pa.Table) -> pa.Table:
    """Kilobytes that unpack to 300 MB."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * len(table), pa.int32()), ["A" * 1_000_000])
    return table.set_column(table.schema.get_field_index("text"), pa.field("text", texts.type), texts)


TOKENS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "too-few": lambda table: table.slice(1),
    "too-many": lambda table: pa.concat_tables([table, table.slice(0, 1)]),
    "one-twice": lambda table: pa.concat_tables([table.slice(1), table.slice(1, 1)]),
    "other-ids": lambda table: table.set_column(
        table.schema.get_field_index("token_id"),
        "token_id",
        pc.add(table["token_id"], pa.scalar(1, pa.int32())),
    ),
    "no-ids": with_value("token_id", None),
    "no-hashes": with_value("row_hash", None),
}


NAMED = r"its row is not one that the survey wrote|the per-token table has"


def _nothing(_: Any) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(("column", "value"), ROWS.values(), ids=ROWS)
def test_a_forged_row_is_named_when_it_is_to_get_columns(
    store: CatalogStore, column: str, value: Any
) -> None:
    forge(store, "rows", with_value(column, value))
    with pytest.raises(CommitError, match=NAMED):
        read_stored(store, _key(store, "twin"))
    assert read_stored(store, _key(store, "good")).tokens is not None


@pytest.mark.parametrize("change", TOKENS.values(), ids=TOKENS)
def test_tokens_of_another_matrix_stay_and_the_next_row_is_filled(
    store: CatalogStore, change: Callable[[pa.Table], pa.Table]
) -> None:
    forge(store, "tokens", change)
    keys = [_key(store, name) for name in ("twin", "good")]
    filled = fill(store, keys, _nothing, {})
    assert filled.rows == 1
    assert len(filled.problems) == 1
    assert "twin" in filled.problems[0]
    assert "the per-token table has" in filled.problems[0]
    with pytest.raises(CommitError, match="the per-token table has"):
        read_stored(store, keys[0])


def test_values_with_which_nothing_can_be_computed_stop_no_other_row(store: CatalogStore) -> None:
    def derive(_: Any) -> dict[str, Any]:
        return {"vocab_rows": 1 / 0 if derived else 300}

    derived: list[int] = []
    keys = [_key(store, name) for name in ("good", "twin")]
    assert fill(store, keys, derive, {}).rows == 2
    derived.append(1)
    problems = fill(store, keys, derive, {}).problems
    assert len(problems) == 2
    assert all("ZeroDivisionError: division by zero" in problem for problem in problems)


def test_tokens_that_unpack_to_more_than_any_of_ours_are_named(
    store: CatalogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.read.heavy_files.MAX_MANY_ROWS_MB", 100)  # of 1,024: not to take so much
    [file] = [file for file in store.files("tokens") if "twin" in file.name]
    pq.write_table(_of_long_text(pq.read_table(file.path)), file.path, store_schema=False)
    with pytest.raises(CommitError, match="takes more than 100 MB of memory; none of ours does"):
        read_stored(store, _key(store, "twin"))
    assert read_stored(store, _key(store, "good")).tokens is not None


@pytest.mark.parametrize("column", ["repo", "sha", "matrix"])
def test_a_spectrum_of_no_matrix_stops_no_run_and_no_compaction(tmp_path: Path, column: str) -> None:
    store = open_for_writing(str(tmp_path / "c"))
    (tmp_path / "c" / "spectra").mkdir()
    schema = arrow_schema(stored_result_columns("spectra"))
    key = {"result_key": "k", "repo": "org/a", "sha": "1", "matrix": "output"} | {column: None}
    table = pa.table(
        [pa.array([key.get(name)], schema.field(name).type) for name in schema.names], schema=schema
    )
    pq.write_table(table, tmp_path / "c" / "spectra" / "a@0000000000000001.parquet")
    with Reader(store) as reader:
        assert reader.ask("SELECT count(*) FROM spectra").rows == [(1,)]
        assert read_measured(reader).spectra == frozenset()
