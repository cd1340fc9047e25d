"""`survey attach`: a file of views that any DuckDB client opens."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from support.commands import Ran
from support.little_models import LITTLE, little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write

Survey = Callable[..., Ran]


@pytest.fixture
def measured(survey: Survey, tmp_path: Path) -> Callable[[str], Path]:
    catalog = tmp_path / "a [b]*"

    def measure(name: str) -> Path:
        write(little(f"org/{name}", cloud=LITTLE), tmp_path / name)
        ran = survey("run", f"./{name}", "--catalog", catalog, "--executor", "serial")
        assert ran.code == 0, ran.err
        return catalog

    return measure


def client(path: Path = Path("v.duckdb")) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(path), read_only=True)


VIEWS = ["models", "models_history", "black_holes", "exponents", "vectors", "tokens", "attempts"]


def test_another_client_sees_what_we_see(survey: Survey, measured: Callable[[str], Path]) -> None:
    catalog = measured("one")
    assert survey("attach", "v.duckdb", "--catalog", catalog).code == 0
    with client() as connection:
        for view in VIEWS:
            question = f"SELECT count(*) AS n, any_value({view}::VARCHAR) AS one FROM {view}"
            (ours,) = json.loads(survey("sql", question, "--catalog", catalog, "--format", "json").out)
            (theirs,) = connection.execute(question).fetchall()
            assert (ours["n"], ours["one"]) == theirs if ours["n"] == 1 else ours["n"] == theirs[0], view


def test_later_runs_and_compactions_show(survey: Survey, measured: Callable[[str], Path]) -> None:
    catalog = measured("one")
    survey("attach", "v.duckdb", "--catalog", catalog)
    count = (
        "SELECT (SELECT count(*) FROM models), (SELECT count(*) FROM attempts), (SELECT count(*) FROM tokens)"
    )
    with client() as connection:
        (before,) = connection.execute(count).fetchall()
        measured("two")
        after = tuple(2 * number for number in before)
        assert connection.execute(count).fetchall() == [after]
        survey("compact", "--catalog", catalog)
        assert connection.execute(count).fetchall() == [after]
        survey("compact", "--catalog", catalog)  # which removes what was merged
        assert connection.execute(count).fetchall() == [after]


def test_orphans_of_a_crash_show_nowhere(survey: Survey, measured: Callable[[str], Path]) -> None:
    catalog = measured("one")
    measured("two")
    next((catalog / "rows").glob("*.parquet")).unlink()
    survey("attach", "v.duckdb", "--catalog", catalog)
    with client() as connection:
        assert connection.execute("SELECT count(DISTINCT repo) FROM tokens").fetchall() == [(1,)]


def test_the_file_holds_no_data_and_tells_what_columns_mean(
    survey: Survey, measured: Callable[[str], Path]
) -> None:
    survey("attach", "v.duckdb", "--catalog", measured("one"))
    with client() as connection:
        assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]
        query = "SELECT comment FROM duckdb_columns() WHERE table_name = 'models' AND column_name = 'tensor_bytes'"
        assert connection.execute(query).fetchall() == [("bytes of the matrix (bytes)",)]


def test_a_folder_that_is_empty_yet_is_named(survey: Survey) -> None:
    Path("c").mkdir()
    ran = survey("attach", "v.duckdb", "--catalog", "c")
    assert ran.code == 0
    assert "nothing in rows, tokens, attempts" in ran.err
    with client() as connection:
        assert connection.execute("SELECT count(*) FROM models").fetchall() == [(0,)]


def test_it_is_written_anew_and_nothing_of_others_is_lost(
    survey: Survey, measured: Callable[[str], Path]
) -> None:
    catalog = measured("one")
    assert [survey("attach", "v.duckdb", "--catalog", catalog).code for _ in range(2)] == [0, 0]
    with duckdb.connect("theirs.duckdb") as connection:
        connection.execute("CREATE TABLE precious (x INT)")
    Path("text.txt").write_text("no database")
    for name, message in [("theirs.duckdb", "holds more than a catalog's views"), ("text.txt", "no DuckDB file"), ("no/where.duckdb", "there is no folder no")]:  # fmt: skip
        ran = survey("attach", name, "--catalog", catalog)
        assert ran.code == 2
        assert message in ran.err
    assert Path("text.txt").read_text() == "no database"
    assert sorted(path.name for path in Path().glob(".*.tmp")) == []


@pytest.mark.skipif(os.sep == "\\", reason="there a backslash is a separator")
def test_a_backslash_which_duckdb_takes_for_a_slash_is_refused(survey: Survey) -> None:
    for folder in ("a/b", "a\\b", "c", "c\\d/rows"):
        Path(folder).mkdir(parents=True)
    for arguments in (["a\\b/v.duckdb", "--catalog", "c"], ["v.duckdb", "--catalog", "c\\d"]):
        ran = survey("attach", *arguments)
        assert ran.code == 2
        assert "DuckDB takes a backslash for a slash" in ran.err
    assert [*Path("a/b").iterdir(), *Path("a\\b").iterdir(), *Path().glob("*v.duckdb*")] == []


def test_a_file_at_which_another_client_would_stop_is_named(
    survey: Survey, measured: Callable[[str], Path]
) -> None:
    catalog = measured("one")
    measured("two")
    (file, _) = sorted((catalog / "rows").iterdir())
    whole = file.read_bytes()
    # A footer that claims 2^28 row groups would take the memory of a machine.
    claim = whole[: -8 - 1] + bytes.fromhex("09 08 fc 80 80 80 80 01 00")
    footer_bytes = int.from_bytes(whole[-8:-4], "little") + 8
    claim += footer_bytes.to_bytes(4, "little") + b"PAR1"
    # The pattern of the views also matches some names that the survey does not give.
    for named in (file, file.with_name("zzz-abc.parquet")):
        for content in (whole[:-100], b"PAR1", claim):
            named.write_bytes(content)
            ran = survey("attach", "v.duckdb", "--catalog", catalog)
            assert ran.code == 2
            assert str(named) in ran.err
            assert "any other client would stop at it" in ran.err
            assert not Path("v.duckdb").exists()
        named.write_bytes(whole)
    file.with_name(".hidden-abc.parquet").write_bytes(b"PAR1")  # as an unfinished file of a program
    assert survey("attach", "v.duckdb", "--catalog", catalog).code == 0
    with client() as connection:
        assert connection.execute("SELECT count(*) FROM models").fetchall() == [(2,)]


def test_no_name_and_no_content_makes_duckdb_fetch_an_extension(survey: Survey) -> None:
    Path("c").mkdir()
    with closing(sqlite3.connect("lite.duckdb")) as connection:
        connection.execute("CREATE TABLE precious (x INT)")
        connection.commit()
    before = Path("lite.duckdb").read_bytes()
    assert "no DuckDB file" in survey("attach", "lite.duckdb", "--catalog", "c").err
    assert Path("lite.duckdb").read_bytes() == before
    for name in ("md:v", "s3:v", "sqlite:v"):  # of DuckDB's, each another program's
        for _ in range(2):
            assert survey("attach", name, "--catalog", "c").code == 0
        assert Path(name).read_bytes()[8:12] == b"DUCK"


FOLDERS = ["family=Llama", "matrix=input", "repo=somebody/revision=v2", "measured_at=2026-11-27"]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_name_of_a_folder_is_no_column(survey: Survey, tmp_path: Path, name: str) -> None:
    write(little("org/model", cloud=LITTLE), tmp_path / "model")
    assert survey("run", "./model", "--catalog", f"{name}/c", "--executor", "serial").code == 0
    assert survey("attach", "v.duckdb", "--catalog", f"{name}/c").code == 0
    sql = "SELECT repo, revision, matrix, family, measured_at::VARCHAR FROM models JOIN tokens USING (repo, matrix)"
    with client() as connection:
        rows = connection.execute(f"{sql} ORDER BY ALL LIMIT 1").fetchall()
    with Reader(open_for_reading(f"{name}/c")) as reader:
        assert reader.ask(f"{sql} ORDER BY ALL LIMIT 1").rows == rows
    repo, revision, matrix, family, _ = rows[0]
    assert (repo, matrix, family) == (str(tmp_path / "model"), "output", "Qwen")
    assert revision != "v2"


@pytest.mark.parametrize("name", ["zzz.parquet", "models-abc.parquet", "copy@main.output.fade.parquet"])
def test_a_file_that_is_not_ours_counts_for_no_client(
    survey: Survey, measured: Callable[[str], Path], name: str
) -> None:
    catalog = measured("one")
    (ours,) = (catalog / "rows").iterdir()
    forged = "SELECT * REPLACE (999 AS dead_count, TIMESTAMP '2999-01-01' AS measured_at)"
    copied = duckdb.sql(f"{forged} FROM read_parquet(['{str(ours).replace('[b]*', '?b??')}'])")
    copied.to_parquet(str(catalog / "rows" / name))
    assert survey("attach", "v.duckdb", "--catalog", catalog).code == 0
    with client() as connection:
        assert connection.execute("SELECT dead_count FROM models").fetchall() == [(10,)]
