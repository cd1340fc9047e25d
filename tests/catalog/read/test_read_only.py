"""Which statements a query may contain: attacks are refused, and ordinary queries still work."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import duckdb
import pytest

from catalog.read import reader as reader_module
from catalog.read.describer import Describer
from catalog.read.functions import names_of
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from queries.library import load
from survey.errors import UsageError
from tests.functions import QUERIES, installed

COPYING = "WITH x AS (COPY (SELECT 1) TO '{file}') SELECT 1"
WRITING = {
    "COPY in a WITH": COPYING,
    "COPY in a WITH of a subquery": "SELECT (WITH x AS (COPY (SELECT 1) TO '{file}') SELECT 1)",
    "COPY in a WITH of an EXISTS": "SELECT EXISTS (WITH x AS (COPY (SELECT 1) TO '{file}') FROM x)",
    "COPY beside a PIVOT": "WITH x AS (COPY (SELECT 1) TO '{file}') PIVOT models ON family USING count(*)",
    "COPY beside a PIVOT, after a comment": "WITH x AS (/* ' */ COPY (SELECT 1) TO '{file}') "
    "PIVOT models ON family USING count(*)",
    "COPY of a PIVOT": "COPY (PIVOT models ON family USING count(*)) TO '{file}'",
    "a kind that Python has no name for": "UPDATE EXTENSIONS",
    "INSERT in a WITH": "WITH x AS (INSERT INTO models SELECT 1) SELECT 1",
    "a serialized COPY": "FROM json_execute_serialized_sql('{serialized}')",
    "a serialized COPY beside a PIVOT": "FROM json_execute_serialized_sql('{serialized}'), "
    "(PIVOT models ON family USING count(*))",
    "one that query() puts together": "FROM query('FROM json_execute_se' || 'rialized_sql(''{quoted}'')')",
    "a function that runs others": "FROM destroy_external_resource("
    "'json_execute_serialized_sql', '{serialized}')",
    "one with a schema": "FROM main.destroy_external_resource('json_execute_serialized_sql', '{serialized}')",
    "one with capitals in quotes": """FROM "Query"('SELECT 1')""",
}


@pytest.mark.parametrize("sql", WRITING.values(), ids=WRITING.keys())
def test_a_query_that_writes_is_refused(committed: CatalogStore, sql: str) -> None:
    rows = committed.files("rows")[0].path
    before = Path(rows).read_bytes()
    [serialized] = duckdb.execute("SELECT json_serialize_sql(?)", [COPYING.format(file=rows)]).fetchall()[0]
    serialized = serialized.replace("'", "''")
    with Reader(committed) as reader, pytest.raises(UsageError, match="is not allowed"):
        reader.ask(sql.format(file=rows, serialized=serialized, quoted=serialized.replace("'", "''")))
    assert Path(rows).read_bytes() == before


@pytest.mark.parametrize("sql", [WRITING["COPY in a WITH"], WRITING["COPY of a PIVOT"]])
def test_past_the_check_of_the_statement_the_files_cannot_be_written(
    committed: CatalogStore, sql: str
) -> None:
    [file, *_] = committed.files("rows")
    for name in (file.path, file.url, f"{Path(file.path).parent}/new.parquet", "catalog://rows/new.parquet"):
        with Reader(committed) as reader:
            reader.ask("SELECT 1 FROM models")
            with pytest.raises(duckdb.Error, match=r"only read|disabled|Permission"):
                reader._catalog.connection.execute(sql.format(file=name))
    with Reader(committed) as reader:
        assert reader.ask("SELECT count(*) FROM models").rows == [(2,)]


OUTSIDE = [
    "FROM read_csv('/etc/passwd')",
    "FROM read_text('catalog://rows/x')",
    "FROM read_parquet('catalog://rows/*.parquet')",
    "FROM parquet_metadata('catalog://rows/*.parquet')",
    "FROM glob('/*')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM '/etc/passwd'",
    "FROM \"catalog://rows/*.parquet\"",
    "FROM models, 'x.parquet'",
    "SELECT (SELECT a FROM 'x.csv') FROM models",
    "FROM reader",  # a variable of Python's
    "SELECT getenv('HOME')",
    "SELECT current_setting('secret_directory')",
    "SELECT main.current_setting('threads')",
    "SELECT [current_setting(x) for x in ['threads']]",
    "SELECT list_transform(['threads'], lambda x: current_setting(x))",
    "SELECT 1 ORDER BY current_setting('threads')",
    "SELECT sum(1) FILTER (current_setting('threads') = '1')",
    "SELECT sum(1) OVER (ORDER BY current_setting('threads'))",
    "SELECT 1 LIMIT getvariable('x')",
    "SELECT 1 WHERE EXISTS (FROM duckdb_settings())",
    "FROM duckdb_settings()",
    "FROM duckdb_secrets()",
    "FROM duckdb_logs",
    "FROM pg_catalog.pg_settings",
    "FROM sqlite_master",
    "SHOW memory_limit",
    "SHOW DATABASES",
    "DESCRIBE FROM read_csv('/etc/passwd')",
    "SUMMARIZE 'x.parquet'",
    "WITH x AS (FROM read_csv('/etc/passwd')) SELECT 1",
    "SELECT (WITH duckdb_logs AS (SELECT 1) SELECT 1) FROM duckdb_logs",
    "WITH duckdb_logs AS (FROM duckdb_logs) FROM duckdb_logs",
    "WITH duckdb_logs AS (SELECT 1) FROM main.duckdb_logs",
    "WITH duckdb_logs AS (SELECT 1) FROM recurring.duckdb_logs",
    "WITH duckdb_logs AS (SELECT 1) SELECT 1 LIMIT (SELECT count(*) FROM duckdb_logs)",
    "WITH RECURSIVE duckdb_logs AS (FROM duckdb_logs UNION ALL FROM duckdb_logs) FROM duckdb_logs",
    "WITH RECURSIVE duckdb_logs AS (FROM duckdb_logs) FROM duckdb_logs",
    "WITH RECURSIVE x AS (FROM x UNION ALL FROM x) FROM x",
    "WITH RECURSIVE x AS (SELECT 1 UNION ALL FROM main.x) FROM x",
    "WITH RECURSIVE a AS (SELECT 1 UNION ALL FROM recurring.b), b AS (SELECT 1) FROM a",
    "WITH a AS (FROM b), b AS (SELECT 1) FROM a",
    "WITH a AS (WITH b AS (SELECT 1) FROM b) FROM a, b",
    "WITH pg_settings AS MATERIALIZED (SELECT 1) FROM pg_settings",
    "WITH duc\N{KELVIN SIGN}db_logs AS (SELECT 1) FROM duckdb_logs",
    "WITH \"main.duckdb_logs\" AS (SELECT 1) FROM main.duckdb_logs",
    "WITH pg_catalog AS (SELECT 1) FROM pg_catalog.pg_settings",
    "FROM system.main.duckdb_logs",
    "FROM other.models",
    "FROM query('SELECT 1')",
    "FROM query_table('models')",
    "FROM histogram('duckdb_settings', name)",
    "FROM checkpoint()",
    "SELECT write_log('x')",
    "SELECT sleep_ms(100000)",
    "SELECT json_serialize_plan('FROM read_csv(''/etc/passwd'')')",
    "SELECT a_function_of_a_later_version(1)",
    "PIVOT (FROM read_csv('/etc/passwd')) ON column0 USING count(*)",
    "PIVOT (FROM \"read_csv\" ('/etc/passwd')) ON column0 USING count(*)",
    "PIVOT (FROM duckdb_logs) ON type USING count(*)",
    "PIVOT models ON (family || getenv('HOME')) USING count(*)",
    "PIVOT models ON family USING max(current_setting('threads'))",
    "WITH duckdb_logs AS (SELECT 1 AS a) PIVOT main.duckdb_logs ON type USING count(*)",
    "PIVOT models ON family USING max((SELECT name FROM pg_catalog.pg_settings))",
    "PIVOT models JOIN pg_catalog.pg_settings ON name = family ON family USING count(*)",
    "PIVOT models ON family UNION FROM pg_catalog.pg_settings",
    "PIVOT models ON family IN (SELECT name FROM pg_catalog.pg_settings) USING count(*)",
    "PIVOT models ON family ORDER BY (SELECT name FROM pg_catalog.pg_settings)",
    "PIVOT (PIVOT pg_catalog.pg_settings ON name) ON value",
    "FROM models, (PIVOT models ON family), pg_catalog.pg_settings",
    "FROM models JOIN (PIVOT models ON family) ON (SELECT count(*) > 0 FROM pg_catalog.pg_settings)",
    "PIVOT models ON family USING max($$x$$)",
    "PIVOT models ON family USING max(e'\\'')",
    "PIVOT models /* /* */ */ ON family USING count(*)",
]  # fmt: skip


@pytest.mark.parametrize("sql", OUTSIDE)
def test_a_query_sees_nothing_but_the_views(committed: CatalogStore, sql: str) -> None:
    with Reader(committed) as reader, pytest.raises(UsageError, match=r"is not allowed|no view"):
        reader.ask(sql)


def _is_a_pivot_that_looks(sql: str) -> bool:
    try:
        [statement] = duckdb.extract_statements(sql)
    except (duckdb.Error, ValueError):  # not every statement may stand in brackets
        return False
    return statement.type == duckdb.StatementType.MULTI


@pytest.mark.parametrize("form", ["PIVOT ({}) ON a", "PIVOT models ON family UNION ({})", "WITH made AS ({}) PIVOT made ON a", "FROM ({}), (PIVOT models ON family)"])  # fmt: skip
def test_nor_does_one_with_a_pivot_that_looks_for_its_columns(committed: CatalogStore, form: str) -> None:
    statements = [sql for sql in map(form.format, OUTSIDE) if _is_a_pivot_that_looks(sql)]
    assert len(statements) > len(OUTSIDE) * 0.8
    with Reader(committed) as reader:
        for sql in statements:
            with pytest.raises(UsageError, match=r"is not allowed|no view"):
                reader.ask(sql)


@pytest.mark.parametrize("relation", sorted(names_of("views").refused))
def test_a_system_view_is_refused_by_any_of_its_names(committed: CatalogStore, relation: str) -> None:
    name = relation.rpartition(".")[2]
    with Reader(committed) as reader:
        for called in {name, relation, f"main.{name}", f"pg_catalog.{name}", f"system.main.{name}"}:
            for sql in (f"FROM {called}", f"PIVOT {called} ON a", f"WITH {name} AS (SELECT 1) FROM {called}"):
                with pytest.raises(UsageError, match=r"is not allowed|no view"):
                    reader.ask(sql)


INSIDE = [
    "FROM models",
    "TABLE models",
    "SELECT * EXCLUDE (family) REPLACE (upper(repo) AS repo) FROM models",
    "SELECT COLUMNS('dead_.*') FROM models",
    "SELECT repo, revisions FROM models_history",
    "FROM measured_rows",
    "SELECT texts FROM black_holes JOIN models USING (repo, sha, matrix)",
    "SELECT family, count(*) FILTER (dead_count > 0) FROM models GROUP BY ALL ORDER BY ALL",
    "SELECT family, matrix, grouping(family), count(*) FROM models GROUP BY CUBE (family, matrix)",
    "SELECT repo, rank() OVER (PARTITION BY family ORDER BY dead_count) FROM models",
    "FROM models QUALIFY row_number() OVER (PARTITION BY family) = 1",
    "WITH a AS (FROM models), b AS MATERIALIZED (SELECT repo FROM a) FROM a JOIN b USING (repo)",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t",
    "WITH RECURSIVE t(n, s) USING KEY (n) AS (SELECT 1, 1 UNION SELECT n, s + 1 FROM recurring.t WHERE s < 5) FROM t",
    "WITH RECURSIVE a AS (SELECT 1 AS n), t AS (FROM a UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t",
    "WITH RECURSIVE t AS (WITH a AS (SELECT 1 AS n) FROM a UNION ALL SELECT n + 1 FROM t WHERE n < 5) FROM t",
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL (WITH a AS (FROM t) SELECT n + 1 FROM a WHERE n < 5)) FROM t",
    "WITH a AS (FROM models) SELECT (WITH b AS (SELECT repo FROM a) SELECT min(repo) FROM b) FROM a",
    "WITH models AS (SELECT 1 AS a) FROM models",
    "WITH Ä AS (FROM models) SELECT repo FROM Ä UNION SELECT repo FROM main.models",
    "SELECT list_transform(exponents_all, lambda x: x + 1), [y * 2 FOR y IN exponents_all IF y > 0] "
    "FROM measured_rows",
    "SELECT list_sum(exponents_all), list_sort(exponents_all)[1:3], len(exponents_all) FROM measured_rows",
    "SELECT unnest(black_holes, recursive := true) FROM measured_rows",
    "SELECT {'a': 1}.a, MAP {'a': 1}['a'], [1, 2][1], (1, 2), 'x' || 'y', 1 // 2, 2 ** 3",
    "SELECT CASE WHEN true THEN 1 ELSE 2 END, coalesce(NULL, 1), nullif(1, 2), 1 BETWEEN 0 AND 2, if(true, 1, 2)",
    "SELECT 'a' LIKE 'b', 'a' ILIKE 'b', 'a' SIMILAR TO 'b', 'a' GLOB 'b', regexp_matches('a', 'b')",
    "SELECT now(), [now()], current_time",
    "SELECT current_date, date_trunc('day', now())::DATE, EXTRACT(year FROM now()), now() AT TIME ZONE 'UTC'",
    "SELECT INTERVAL 1 DAY, DATE '2026-01-01', TIMESTAMP '2026-01-01 00:00:00', 1::DECIMAL(4, 2), x'00'::BLOB",
    "SELECT '[1]'::JSON -> 0, json_extract('{}', '$.a'), try_cast('a' AS INTEGER), hash(1), md5('a')",
    "SELECT * FROM range(3) AS t(n), generate_series(1, 2) AS u(m)",
    "SELECT * FROM (VALUES (1, 2)) AS t(a, b)",
    "SELECT 1 UNION ALL SELECT 2 EXCEPT SELECT 3",
    "SELECT repo FROM models WHERE dead_count > ANY (SELECT dead_count FROM models) OR repo IN ('a')",
    "FROM models TABLESAMPLE 10 ROWS",
    "FROM models POSITIONAL JOIN range(2)",
    "SELECT m.repo, n.d FROM models m, LATERAL (SELECT m.dead_count + 1 AS d) n",
    "FROM model_at((SELECT min(repo) FROM models), 'output')",
    "DESCRIBE models",
    "DESCRIBE SELECT repo FROM models",
    "SUMMARIZE models",
    "SHOW TABLES",
    "SELECT table_name FROM information_schema.tables",
    "SELECT column_name FROM duckdb_columns() WHERE table_name = 'models'",
    "FROM duckdb_views",
    "SELECT function_name FROM duckdb_functions() LIMIT 1",
    "PIVOT models ON family USING count(*)",
    "-- how many; by family\nPIVOT models ON family USING count(*), median(dead_count) GROUP BY matrix;",
    "FROM (PIVOT (SELECT family, matrix, dead_count FROM models) ON family USING sum(dead_count)) LIMIT 3",
    "WITH x(a, b) AS (SELECT family, dead_count FROM models) PIVOT x ON a USING sum(b::DECIMAL(9, 2))",
    "PIVOT models ON family || '_' || matrix USING count(*)",
    "PIVOT models ON (family, matrix) USING count(*)",
    "PIVOT models ON family, matrix, USING count(*) GROUP BY repo, sha ORDER BY ALL LIMIT 3",
    "PIVOT models ON dead_count > 1 USING count(*)",
    "PIVOT models ON family IN ('a'), matrix USING count(*)",
    "PIVOT models ON CASE WHEN dead_count > 1 THEN 'dead' ELSE family END",
    "PIVOT models JOIN (SELECT repo, 1 AS one FROM models) USING (repo) ON one USING count(*)",
    "PIVOT (SELECT models.family FROM models JOIN models AS m ON m.repo = models.repo) ON family",
    "PIVOT (PIVOT models ON family GROUP BY repo) ON repo",
    "DESCRIBE PIVOT models ON family",
    "SUMMARIZE PIVOT models ON family",
    "FROM models JOIN (PIVOT (SELECT family, matrix FROM models) ON family) AS p ON p.matrix = models.matrix",
    "WITH p AS (PIVOT models ON family) FROM p UNION ALL FROM p",
    "SELECT (SELECT count(*) FROM (PIVOT models ON family)) AS \"PIVOT\"",
    "PIVOT models ON family -- (how many\nUSING count(*) /* ON ( */",
    "PIVOT models ON family IN ('a', 'b') USING sum(dead_count) /* /* */ */",
    "UNPIVOT (SELECT repo, dead_count, vocab_rows FROM models) ON dead_count, vocab_rows INTO NAME what VALUE number",
    "SELECT 'COPY; read_csv(x)' AS \"query\", $$ -- $$ FROM models -- COPY",
]  # fmt: skip


@pytest.mark.parametrize("sql", INSIDE)
def test_what_only_reads_is_answered(committed: CatalogStore, sql: str) -> None:
    with Reader(committed) as reader:
        assert reader.ask(sql).names


@pytest.mark.parametrize("name", sorted(load()))
def test_every_named_query_only_reads(committed: CatalogStore, name: str) -> None:
    from catalog.read.read_only import refuse_writes

    with Reader(committed) as reader:
        refuse_writes(reader._catalog.connection, load()[name].sql)


SLOW = {
    "comments": "/*x*/" * 50_000 + "PIVOT models ON family USING count(*)",
    "comments before a SELECT": "/*x*/" * 50_000 + "SELECT 1",
    "lines": "--\n" * 50_000 + "PIVOT models ON family USING count(*)",
    "quotes": "PIVOT models ON family USING max('" + "''" * 50_000 + "')",
    "pivots": "PIVOT " * 50_000 + "models ON family",
    "parentheses": "(" * 5_000 + "SELECT 1" + ")" * 5_000,
    "a comment without an end": "/*" * 50_000,
}


@pytest.mark.parametrize("sql", SLOW.values(), ids=SLOW.keys())
def test_a_long_statement_is_checked_quickly(committed: CatalogStore, sql: str) -> None:
    with Reader(committed) as reader:
        began = time.process_time()
        with contextlib.suppress(UsageError):
            reader.ask(sql)
        assert time.process_time() - began < 5


# By what it is made of, repeated; DuckDB's parser, its planner or Python's JSON would end the process.
OVERSIZED = {
    "brackets": "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
    "brackets in few characters": "SELECT " + "[" * 301 + "1" + "]" * 301,
    "queries in queries": "SELECT * FROM " + "(SELECT * FROM " * 400 + "models" + ")" * 400,
    "brackets behind a quote in a comment": "SELECT /* ' */ " + "(" * 400 + "1" + ")" * 400 + " -- '",
    "UNIONs": "SELECT 1" + " UNION ALL SELECT 1" * 100_000,
    "texts": "SELECT '" + "x" * 200_000 + "'",
    "UNIONs that fit": "SELECT 1" + " UNION ALL SELECT 1" * 2_000,
    "JOINs": "SELECT 1 FROM models" + "".join(f" JOIN models AS m{i} USING (repo)" for i in range(201)),
    "tables side by side": "SELECT 1 FROM models" + "".join(f", models AS m{i}" for i in range(201)),
}
IN_SIZE = {
    "brackets side by side": "SELECT " + "+".join(["(1)"] * 100),
    "brackets in a text": "SELECT '" + "(" * 400 + "' || repo FROM models",
    "brackets in a comment": "SELECT 1 /* " + "(" * 400 + " */ -- " + "(" * 400,
    "brackets that are deep": "SELECT " + "[" * 200 + "1" + "]" * 200,
    "a long list": f"SELECT 1 WHERE 5 IN ({', '.join(map(str, range(10_000)))})",
    "many UNIONs": "SELECT 1" + " UNION ALL SELECT 1" * 500,
    "many JOINs": "SELECT 1 FROM models" + "".join(f" JOIN models AS m{i} USING (repo)" for i in range(20)),
}


@pytest.mark.parametrize("sql", OVERSIZED.values(), ids=OVERSIZED)
def test_an_oversized_statement_is_refused_by_name(committed: CatalogStore, sql: str) -> None:
    with Reader(committed) as reader, Describer() as describer:
        for ask in (reader.ask, reader.ask_parquet, lambda sql: describer.columns(sql, {})):
            with pytest.raises(UsageError, match=r"expected [\d,]+ or fewer|nested too deeply"):
                ask(sql)


DEEP = "(repeat('[', 1000000) || repeat(']', 1000000))"
RECURSING = [
    f"SELECT {DEEP}::JSON::VARIANT",
    f"SELECT TRY_CAST({DEEP} AS variant[])",
    f"SELECT {DEEP}::STRUCT(a VARIANT)",
    f"SELECT '1'::system.main.\"Variant\" || {DEEP}",
    f"SELECT variant_typeof({DEEP})",
    f"SELECT json_contains({DEEP}, '1')",
    f"SELECT json_transform('1', {DEEP})",
    f"SELECT from_json('1', {DEEP})",
    f"SELECT json_transform_strict('1', {DEEP})",
    f"FROM json_tree({DEEP})",
]


@pytest.mark.parametrize("sql", RECURSING)
def test_what_recurses_on_a_text_is_refused(committed: CatalogStore, sql: str) -> None:
    with (
        Reader(committed) as reader,
        pytest.raises(UsageError, match="is not allowed: a catalog is only read"),
    ):
        reader.ask(sql)


def test_what_does_not_recurse_on_a_text_is_answered(committed: CatalogStore) -> None:
    with Reader(committed) as reader:
        sql = f"SELECT json_valid({DEEP}), json_extract('{{\"a\": [1, 2]}}', '$.a[1]')::INTEGER"
        assert reader.ask(sql).rows[0][1] == 2


# DuckDB binds an operator's operands to one type, and those of the function of that name to none: it then
# reads a row as a number, which ends the process.
COMPARING = ["=", "!=", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"]


@pytest.mark.parametrize("name", COMPARING)
def test_a_comparison_is_an_operator_and_no_function(committed: CatalogStore, name: str) -> None:
    calls = [f"\"{name}\"({{'a': 1}}, 1e308)", f"main.\"{name.upper()}\"(1, 'a')"]
    with Reader(committed) as reader:
        for call in (*calls, f"list_transform([1], lambda x: {calls[0]})"):
            with pytest.raises(UsageError, match="is not allowed: a catalog is only read"):
                reader.ask(f"SELECT {call} FROM models")
        assert reader.ask(f"SELECT repo {name} 'a', (1, 2) {name} (1, 3), [1] {name} [2] FROM models").rows


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ('SELECT "!="([1], list(repo)) FROM models', "INTERNAL Error: [^\n]*; this is a defect of DuckDB"),
        ('SELECT "="(1, list(repo)) FROM models', "INTERNAL Error: [^\n]*; this is a defect of DuckDB"),
    ],
)
def test_after_a_defect_of_duckdb_the_next_statement_is_answered(
    committed: CatalogStore, monkeypatch: pytest.MonkeyPatch, sql: str, message: str
) -> None:
    monkeypatch.setattr(reader_module, "refuse_writes", lambda *_: None)  # which refuses those that we know
    with Reader(committed) as reader:
        with pytest.raises(UsageError, match=f"^{message}[^\n]*$"):
            reader.ask(sql)
        assert reader.ask("SELECT count(*) FROM models").rows == [(2,)]


def test_a_value_beyond_the_types_of_python_is_named(committed: CatalogStore) -> None:
    with Reader(committed) as reader:
        for value in ("INTERVAL '9999999 years'", "[{'a': INTERVAL '9999999 years'}]"):
            with pytest.raises(UsageError, match=r"beyond Python's types: .*; cast it to VARCHAR"):
                reader.ask(f"SELECT {value}")
            assert reader.ask(f"SELECT {value}::VARCHAR").rows


@pytest.mark.parametrize("sql", IN_SIZE.values(), ids=IN_SIZE)
def test_a_statement_of_reasonable_size_is_answered(committed: CatalogStore, sql: str) -> None:
    with Reader(committed) as reader:
        assert reader.ask(sql).rows


@pytest.mark.parametrize("kind", QUERIES)
def test_every_function_of_the_installed_duckdb_was_reviewed(kind: str) -> None:
    names = names_of(kind)
    new = installed(kind) - names.allowed - names.refused
    assert not new, "python -m tests.functions adds them as refused; move what is harmless to allowed"
    assert not names.allowed & names.refused


DANGEROUS = ["getenv", "current_setting", "getvariable", "json_serialize_plan", "write_log", "sleep_ms"]
DANGEROUS_TABLES = [
    "read_csv", "read_parquet", "parquet_scan", "read_text", "read_blob", "read_json", "read_duckdb", "glob",
    "sniff_csv", "query", "query_table", "json_execute_serialized_sql", "destroy_external_resource",
    "create_external_resource", "register_external_resource", "duckdb_secrets", "duckdb_settings", "checkpoint",
    "force_checkpoint", "parquet_metadata", "pragma_version", "python_map_function", "pandas_scan", "arrow_scan",
    "enable_logging", "seq_scan", "which_secret", "histogram", "histogram_values",
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("expressions", name) for name in DANGEROUS), *(("tables", name) for name in DANGEROUS_TABLES)],
)
def test_what_reaches_outside_is_on_no_list_of_what_is_allowed(kind: str, name: str) -> None:
    assert not names_of(kind).allows(name)
