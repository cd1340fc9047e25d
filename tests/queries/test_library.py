"""Named queries: one file each, its parameters declared as they are used."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from support.commands import Ran

from queries.library import OWN_QUERIES, Query, load, parse, query_list
from survey.errors import UsageError

Survey = Callable[..., Ran]
ABOUT_MODELS = (
    *("compare", "drift", "exponents", "relatives", "same_grouping", "shared_rows", "trajectory"),
    *("unchanged_rows", "spectrum_drift"),
)


@pytest.mark.parametrize("name", load())
def test_a_query_runs_on_an_empty_catalog(survey: Survey, name: str) -> None:
    Path("c").mkdir()
    given = [f"--param={key}=x" for key, default in load()[name].parameters.items() if default is None]
    ran = survey("query", name, *given, "--catalog", "c")
    if name in ABOUT_MODELS:  # which say that the models are not there
        assert "not in the catalog" in ran.err
    else:
        assert ran.code == 0, ran.err


def test_every_query_is_listed_with_the_columns_of_its_answer(survey: Survey) -> None:
    listed = json.loads(survey("query", "--format", "json").out)
    assert [row["query"] for row in listed] == sorted(load())
    assert [row["columns"] for row in listed if "cannot be asked" in row["columns"]] == []


@pytest.mark.parametrize("path", sorted(OWN_QUERIES.glob("*.sql")), ids=lambda path: path.stem)
def test_a_query_names_its_columns_and_orders_them_totally(path: Path) -> None:
    text = path.read_text().lower()
    assert "select *" not in text
    assert "\norder by" in text


def test_a_users_folder_adds_queries_and_may_replace_ours(survey: Survey, tmp_path: Path) -> None:
    Path("c").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "twice.sql").write_text(
        "-- Twice a number.\n-- params: n=21\nselect 2 * $n as twice\n"
    )
    (tmp_path / "mine" / "families.sql").write_text("-- Mine.\nselect 'mine' as families\n")
    assert "Twice a number." in survey("query", "--queries", "mine").out
    assert "42" in survey("query", "twice", "--queries", "mine", "--catalog", "c").out
    assert "mine" in survey("query", "families", "--queries", "mine", "--catalog", "c").out


WRONG = [
    ("no help", "select 1\n", "line 1 is its help text"),
    ("undeclared", "-- Help.\nselect $x\n", "declares the parameters [], but uses ['x']"),
    (
        "unused",
        "-- Help.\n-- params: x, y=1\nselect $x\n",
        "declares the parameters ['x', 'y'], but uses ['x']",
    ),
    ("not SQL", "-- Help.\nselec 1\n", "syntax error"),
    (
        "brackets without an end",
        "-- Help.\nselect " + "(" * 100_000 + "1" + ")" * 100_000,
        "expected 200,000 or fewer",
    ),
    ("UNIONs without an end", "-- Help.\nselect 1" + " union all select 1" * 100_000, "or fewer"),
    ("nested too deep", "-- Help.\nselect " + "(" * 400 + "1" + ")" * 400, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_file_is_refused_when_it_is_loaded(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.sql"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        parse(path, duckdb.connect())
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_link_to_a_query_and_its_line_breaks_are_read_as_ever(survey: Survey, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "elsewhere.sql").write_bytes(b"-- Help.\r\n-- params: n=1\r\nselect $n as n\r\n")
    (tmp_path / "mine" / "linked.sql").symlink_to(tmp_path / "elsewhere.sql")
    assert "linked,Help.,--param n=1,n" in survey("query", "--queries", "mine", "--format", "csv").out


HOSTILE = [
    ("a second statement", "-- Nice.\nSELECT 1 AS a; COPY (SELECT 'x') TO 'written.csv'"),
    ("a COPY inside WITH", "-- Nice.\nWITH x AS (COPY (SELECT 1) TO 'written.csv') SELECT * FROM x"),
    ("a file of the machine", "-- Nice.\nSELECT * FROM read_csv('secret.csv', header = true)"),
    ("a file as a table", "-- Nice.\nSELECT * FROM 'secret.csv'"),
    ("an extension", "-- Nice.\nINSTALL httpfs"),
    ("a setting", "-- Nice.\nSELECT current_setting('home_directory') AS a"),
]


@pytest.mark.parametrize("sql", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_listing_a_folder_runs_nothing_of_it(survey: Survey, tmp_path: Path, sql: str) -> None:
    (tmp_path / "secret.csv").write_text("hidden_column\n1\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "hostile.sql").write_text(sql)
    ran = survey("query", "--queries", "mine", "--format", "csv")
    (line,) = [line for line in ran.out.splitlines() if line.startswith("hostile,")]
    assert "cannot be asked" in line
    assert "hidden_column" not in ran.out
    assert not (tmp_path / "written.csv").exists()


ENDLESS = "FROM range(100000000000) AS t(x)"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "sql",
    [
        f"PIVOT ({ENDLESS}) ON x USING count(*)",
        f"WITH a AS (PIVOT ({ENDLESS}) ON x USING count(*)) FROM a",
        f"FROM (PIVOT ({ENDLESS}) ON x), models",
        f"DESCRIBE PIVOT ({ENDLESS}) ON x",
    ],
)
def test_a_query_that_runs_to_find_its_columns_is_not_run_for_a_list(
    survey: Survey, tmp_path: Path, sql: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "endless.sql").write_text(f"-- help\n{sql}\n")
    ran = survey("query", "--queries", "mine", "--format", "csv")
    (line,) = [line for line in ran.out.splitlines() if line.startswith("endless,")]
    assert "one for each value that is found" in line


COSTLY = {
    # Together 20 s, and 0.2 GB one after another: a constant that lacks memory is not computed at all.
    "constants that are computed": "SELECT "
    + ", ".join(f"len(list_sort(range({20_000_000 + i}))) AS x{i}" for i in range(30)),
    "columns that multiply": "WITH a0 AS (SELECT 1 AS x, 2 AS y)"
    + "".join(f", a{i} AS (SELECT p.*, q.* FROM a{i - 1} AS p, a{i - 1} AS q)" for i in range(1, 24))
    + " FROM a23",
}


@pytest.mark.timeout(120)
def test_what_takes_long_to_describe_is_stopped_and_the_others_are_listed(tmp_path: Path) -> None:
    costly = {name: Query(name, "", {}, sql) for name, sql in COSTLY.items()}
    began = time.monotonic()
    answer = query_list({**costly, "one": Query("one", "", {"n": "1"}, "SELECT $n AS one")}, seconds=2)
    columns = {row[0]: row[3] for row in answer.rows}
    assert [columns[name][:21] for name in COSTLY] == ["cannot be asked: stop"] * len(COSTLY)
    assert columns["one"] == "one"
    assert time.monotonic() - began < 60
    many = {f"{number}": costly["columns that multiply"] for number in range(20)}
    assert "before it took too long" in query_list(many, seconds=0.5).rows[-1][3]
