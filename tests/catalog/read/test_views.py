"""The views: typed when empty, right when filled, and unharmed by damaged files."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from support.deliveries import delivered

from catalog.read.reader import Reader
from catalog.read.view_columns import view_columns
from catalog.store.open import CatalogStore, open_for_reading, open_for_writing
from catalog.write.commit import commit
from survey.errors import UsageError

Make = Callable[..., Path]


@pytest.fixture
def filled(tmp_path: Path, checkpoint: Make) -> CatalogStore:
    """A catalog of two little models: one with black holes, one a copy under another name."""
    store = open_for_writing(str(tmp_path / "catalog"))
    for name in ("one", "two"):
        commit(store, delivered(checkpoint(name)).tables)
    return store


@pytest.mark.parametrize("view", view_columns())
def test_an_empty_catalog_answers_with_empty_tables(tmp_path: Path, view: str) -> None:
    with Reader(open_for_reading(str(tmp_path))) as reader:
        answer = reader.ask(f"SELECT * FROM {view}")
    assert answer.rows == []
    assert answer.names == [column.name for column in view_columns()[view]]


@pytest.mark.parametrize("view", view_columns())
def test_a_view_has_the_documented_columns_and_types(filled: CatalogStore, view: str) -> None:
    with Reader(filled) as reader:
        answer = reader.ask(f"DESCRIBE {view}")
    columns = [(row[0], row[1].replace('"', "")) for row in answer.rows]
    assert columns == [(column.name, column.sql_type) for column in view_columns()[view]]


def test_views_agree_with_each_other(filled: CatalogStore) -> None:
    with Reader(filled) as reader:
        models = reader.ask("SELECT repo, dead_count, black_hole_sizes, vocab_rows FROM models ORDER BY repo")
        assert [row[1:] for row in models.rows] == [(10, [5, 3, 2], 300)] * 2
        holes = reader.ask(
            "SELECT rank, population, len(token_ids) FROM black_holes WHERE repo = $r ORDER BY rank",
            {"r": models.rows[0][0]},
        )
        assert holes.rows == [(1, 5, 5), (2, 3, 3), (3, 2, 2)]
        tokens = reader.ask(
            "SELECT count(*), count(black_hole), count(norm), count(DISTINCT row_hash) FROM tokens WHERE repo = $r",
            {"r": models.rows[0][0]},
        )
        assert tokens.rows == [(300, 10, 300, 293)]
        exponents = reader.ask(
            "SELECT sum(all_count), sum(dead_count), sum(live_count) FROM exponents WHERE repo = $r",
            {"r": models.rows[0][0]},
        )
        assert exponents.rows == [(300 * 16, 10 * 16, 290 * 16)]
        joined = reader.ask(
            "SELECT count(*) FROM tokens t JOIN black_holes b ON t.repo = b.repo AND t.sha = b.sha AND t.matrix = b.matrix AND t.black_hole = b.rank AND t.row_hash = b.row_hash"
        )
        assert joined.rows == [(20,)]
        vectors = reader.ask("SELECT len(centroid), len(dead_centroid), len(live_centroid) FROM vectors")
        assert vectors.rows == [(16, 16, 16)] * 2


CUTS = {"no bytes": 0, "a few bytes": 6, "half": 0.5, "all but the last byte": -1}


@pytest.mark.parametrize("keep", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("folder", ["rows", "tokens"])
def test_a_file_cut_short_is_named_and_left_out(filled: CatalogStore, folder: str, keep: float) -> None:
    file = filled.files(folder)[0]
    victim = Path(file.path)
    whole = victim.read_bytes()
    victim.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with Reader(filled) as reader:
        assert reader.ask("SELECT count(DISTINCT repo) FROM models").rows == [(1 if folder == "rows" else 2,)]
        assert reader.ask("SELECT count(DISTINCT repo) FROM tokens").rows == [(1,)]
        assert reader.damaged == [file]


def garbled(whole: bytes, footer: bool, chance: random.Random) -> bytes:
    """A Parquet file of which a quarter of the bytes are flipped, in its footer or before it, ends kept."""
    end = len(whole) - 8
    start = end - int.from_bytes(whole[end : end + 4], "little")
    zone = range(start, end) if footer else range(4, start)
    flipped = bytearray(whole)
    for at in chance.sample(zone, len(zone) // 4):
        flipped[at] ^= 0xFF
    return bytes(flipped)


@pytest.mark.parametrize("footer", [True, False], ids=["when it is bound", "when it is read"])
def test_a_file_that_is_whole_but_garbled_is_named_and_left_out(filled: CatalogStore, footer: bool) -> None:
    file = filled.files("rows")[0]
    victim = Path(file.path)
    whole, chance = victim.read_bytes(), random.Random(0)
    for _ in range(6):
        victim.write_bytes(garbled(whole, footer, chance))
        with Reader(filled) as reader:
            rows = reader.ask("SELECT repo, centroid_l2 FROM models").rows
            reader.ask("SELECT * FROM vectors")
            # A footer that seems to claim the impossible may be hostile: left out as well, but never set aside.
            assert {item.fate for item in reader.left_out} <= (
                {"damaged", "foreign"} if footer else {"damaged"}
            )
            assert [item.file for item in reader.left_out] == [file]
            assert len(reader.ask("SELECT repo FROM models").rows) == 1
            assert 1 <= len(rows) <= 2


def test_a_parquet_file_of_something_else_gives_no_row(filled: CatalogStore, tmp_path: Path) -> None:
    duckdb.sql(f"COPY (SELECT 1 AS answer) TO '{tmp_path}/catalog/rows/other.parquet'")
    with Reader(filled) as reader:
        assert reader.ask("SELECT count(*) FROM models").rows == [(2,)]


def test_a_row_of_an_older_version_lacks_the_newer_columns(filled: CatalogStore) -> None:
    old = filled.files("rows")[0].path
    duckdb.sql(f"COPY (SELECT * EXCLUDE (zero_rows, head_bias) FROM '{old}') TO '{old}.new' (FORMAT parquet)")
    shutil.move(f"{old}.new", old)
    with Reader(filled) as reader:
        answer = reader.ask(
            "SELECT zero_rows, head_bias, dead_count FROM models ORDER BY zero_rows NULLS FIRST"
        )
    assert answer.rows == [(None, None, 10), (0, False, 10)]


def test_the_newest_of_two_rows_of_one_key_wins(filled: CatalogStore) -> None:
    row = filled.files("rows")[0]
    part = Path(row.path).parent / "part.parquet"
    duckdb.sql(
        f"COPY (SELECT * REPLACE (measured_at - INTERVAL 1 DAY AS measured_at, 7 AS dead_count) FROM '{row}') TO '{part}'"
    )
    with Reader(filled) as reader:
        assert reader.ask("SELECT dead_count FROM models").rows == [(10,), (10,)]


REFUSED = [
    ("SELEC 1", "syntax error"),
    ("DROP VIEW models", "DROP is not allowed"),
    ("COPY (SELECT 1) TO 'x.csv'", "COPY is not allowed"),
    ("ATTACH 'x.db'", "ATTACH is not allowed"),
    ("SET threads = 1", "SET is not allowed"),
    ("INSERT INTO models SELECT 1", "INSERT is not allowed"),
    ("SELECT 1; SELECT 2", "expected one SQL statement, found 2"),
    ("", "expected one SQL statement, found 0"),
    ("SELECT nothing FROM models", "nothing"),
    ("SELECT * FROM read_csv('/etc/passwd')", "read_csv() is not allowed"),
    ("SELECT * FROM '/etc/passwd'", "no view '/etc/passwd'; there are models"),
    ("SELECT * FROM model", "no view 'model'; did you mean models?"),
    ("SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')", "read_parquet() is not allowed"),
    ("COPY (PIVOT models ON family USING count(*)) TO 'x.csv'", "COPY is not allowed"),
    ("/* SELECT */ COPY (PIVOT models ON family USING count(*)) TO 'x.csv'", "COPY is not allowed"),
    ("-- SELECT\nCREATE TABLE x AS PIVOT models ON family USING count(*)", "CREATE is not allowed"),
    ("EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'", "EXPLAIN is not allowed"),
]


@pytest.mark.parametrize(("sql", "message"), REFUSED, ids=[sql or "nothing" for sql, _ in REFUSED])
def test_sql_that_is_wrong_or_would_do_more_than_read_is_refused(
    filled: CatalogStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with Reader(filled) as reader, pytest.raises(UsageError) as refused:
        reader.ask(sql)
    assert message in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


ALLOWED = [
    "SELECT 1",
    "FROM models",
    "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
    "DESCRIBE models",
    "SUMMARIZE SELECT dead_count FROM models",
    "SHOW TABLES",
    "PIVOT (SELECT family, dead_count FROM models) ON family USING sum(dead_count)",
    "VALUES (1), (2)",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_every_form_of_query_is_allowed(filled: CatalogStore, sql: str) -> None:
    with Reader(filled) as reader:
        assert reader.ask(sql).rows
