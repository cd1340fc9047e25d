"""The views over a catalog's files, each made when a statement names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

import duckdb

from catalog.files import ATTEMPTS, ENDING, ROWS, TOKENS, File, file_key, is_part, name_pattern
from catalog.schema import (
    RESULT_KEY,
    Column,
    attempt_columns,
    hole_columns,
    result_columns,
    row_columns,
    stored_result_columns,
    token_columns,
)
from catalog.store.open import CatalogStore
from survey.records.results import RESULTS

VECTORS = ("centroid", "dead_centroid", "live_centroid")
SKETCHES = ("row_sketch",)
_NESTED = ("black_holes", "black_hole_texts", "exponents_all", "exponents_dead", *VECTORS, *SKETCHES)
_KEY = "repo, sha, matrix"
# Of a file that compaction made, else NULL; a row of org "part-time" has an @ in its name.
_PART_NAME = "case when regexp_matches(filename, '/part-[^/@]*$') then parse_filename(filename) end"
COLUMNS: Mapping[str, Callable[[], tuple[Column, ...]]] = {
    ROWS: row_columns,
    TOKENS: token_columns,
    ATTEMPTS: attempt_columns,
    **{kind: partial(stored_result_columns, kind) for kind in RESULTS},
}


@dataclass(frozen=True, slots=True)
class TableFiles:
    """Files that are read as one table. alike: with the same columns. outside: by any DuckDB client."""

    files: Sequence[File]
    alike: bool = False
    outside: bool = False


def connect_catalog(store: CatalogStore, memory_mb: int | None = None) -> duckdb.DuckDBPyConnection:
    """A connection that can read files of this catalog and nothing else.

    memory_mb: the memory limit of a question, which then spills nothing to disk. Default: DuckDB's own limit.
    """
    connection = duckdb.connect()
    store.attach(connection)
    store.duckdb_files.stops.interrupt(connection)
    return _confined(connection, memory_mb)


def connect_without_files() -> duckdb.DuckDBPyConnection:
    """A connection that can read nothing, with the views of an empty catalog."""
    connection = duckdb.connect()
    for name, body in empty().items():
        connection.execute(f"create view {name} as {body}")
    return _confined(connection)


def _confined(
    connection: duckdb.DuckDBPyConnection, memory_mb: int | None = None
) -> duckdb.DuckDBPyConnection:
    if memory_mb is not None:
        connection.execute(f"set memory_limit = '{memory_mb}MB'")
        connection.execute("set max_temp_directory_size = '0KB'")
    # What is in the folder for temporary files can be read, too: not .tmp of wherever this was started.
    temporary = str(Path(gettempdir(), f"survey-{uuid4().hex}")).replace("'", "''")
    connection.execute(f"set temp_directory = '{temporary}'")
    connection.execute("set enable_external_access = false")
    connection.execute("set python_enable_replacements = false")  # a table is no variable of ours
    connection.execute("set enable_geoparquet_conversion = false")  # a note in a file changes no type
    # Footers are read once for a view and a statement; 1,000 loose files: 0.2 s less.
    connection.execute("set parquet_metadata_cache = true")
    connection.execute("set lock_configuration = true")
    return connection


def view_columns() -> dict[str, tuple[Column, ...]]:
    """Every view with its columns, for the data dictionary."""
    key = tuple(column for column in row_columns() if column.name in ("repo", "sha", "matrix"))
    counts = tuple(
        Column(name, "BIGINT", "", meaning)
        for name, meaning in (
            ("exponent", "biased exponent"),
            ("all_count", "elements with it, all rows"),
            ("dead_count", "elements with it, dead rows"),
            ("live_count", "elements with it, live rows"),
        )
    )
    vectors = tuple(column for column in row_columns() if column.name in VECTORS)
    sketches = tuple(column for column in row_columns() if column.name in SKETCHES)
    models = tuple(column for column in row_columns() if column.name not in _NESTED)
    texts = Column("texts", "VARCHAR[]", "", "what its first tokens stand for; NULL without a tokenizer")
    revisions = Column("revisions", "VARCHAR[]", "", "every name that led to this commit, in order")
    return {
        "models": models,
        "models_history": (*models, revisions),
        "black_holes": (*key, *hole_columns(), texts),
        "exponents": (*key, *counts),
        "vectors": (*key, *vectors),
        "sketches": (*key, *sketches),
        "tokens": token_columns(),
        "attempts": attempt_columns(),
        **{kind: result_columns(kind) for kind in RESULTS},
    }


def stubs() -> dict[str, str]:
    """The views before a statement names them: their columns, and an error if one is read.

    To make a view of files DuckDB opens each of them, which is most of a query's time.
    """
    return _without_files("error('this view was not opened')::BOOLEAN")


def empty() -> dict[str, str]:
    """The views of an empty catalog: a question is bound to them for the columns of its answer."""
    return _without_files("false")


def view_bodies(
    names: Sequence[str],
    files: Mapping[str, Sequence[File]],
    alike: Mapping[str, bool],
    *,
    outside: bool = False,
) -> dict[str, str]:
    """The SQL of these views, in the order in which they build on each other.

    alike: by folder, whether all files have the first one's columns, as far as is known.
    outside: for any DuckDB client, which finds the files by their paths.
    """

    def of(folder: str) -> TableFiles:
        return TableFiles(files.get(folder, ()), alike.get(folder, False), outside)

    rows, tokens, attempts = of(ROWS), of(TOKENS), of(ATTEMPTS)
    models = ", ".join(f"measured_rows.{column.name}" for column in view_columns()["models"])
    hole = ", ".join(f"hole.{column.name}" for column in hole_columns())
    bodies = {
        "measured_rows": _newest_rows(rows),
        "attempts": _attempts(attempts),
        # What a repository is now: the commit to which `main` resolved last, or where that was
        # never asked for the last plain revision. A row of which no attempt tells is shown.
        "models": f"""
            select {models} from measured_rows
            left join (
                select {_KEY}, last_plain is not null and row_number() over (
                    partition by repo, matrix
                    order by last_default desc nulls last, last_plain desc nulls last, sha) = 1 as current
                from (
                    select {_KEY}, max(finished_at) filter (pattern is null) as last_plain,
                        max(finished_at) filter (pattern is null and revision = 'main') as last_default
                    from attempts where status in ('measured', 'unchanged') group by {_KEY})
            ) using ({_KEY})
            where coalesce(current, true)""",
        "models_history": f"""
            select {models}, list_sort(list_distinct(list_append(names, measured_rows.revision))) as revisions
            from measured_rows
            left join (select {_KEY}, list(distinct revision) as names from attempts group by {_KEY})
            using ({_KEY})""",
        "black_holes": f"""
            select {_KEY}, {hole}, black_hole_texts[hole.rank] as texts
            from (select {_KEY}, unnest(black_holes) as hole, black_hole_texts from measured_rows)""",
        "exponents": f"""
            select {_KEY}, exponent, all_count, dead_count, all_count - dead_count as live_count
            from (
                select {_KEY}, unnest(range(len(exponents_all))) as exponent,
                    unnest(exponents_all) as all_count, unnest(exponents_dead) as dead_count
                from measured_rows)
            where all_count > 0""",
        "vectors": f"select {_KEY}, {', '.join(VECTORS)} from measured_rows",
        "sketches": f"select {_KEY}, {', '.join(SKETCHES)} from measured_rows",
        "tokens": union(tokens, token_columns()),
        **{kind: _results(of(kind), kind) for kind in RESULTS},
    }
    return {name: bodies[name] for name in bodies if name in names}


def with_rows(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[File], tokens: Sequence[File]
) -> list[File]:
    """The tokens files whose row exists: one without it is the orphan of a crash."""
    complete = {file.name for file in rows if not is_part(file)}
    if parts := [file for file in rows if is_part(file)]:
        keys = connection.execute(
            f"select {_KEY} from {listed(TableFiles(parts))} where repo is not null"
        ).fetchall()
        complete |= {file_key(repo, sha, matrix) + ENDING for repo, sha, matrix in keys}
    return [file for file in tokens if file.name in complete]


def has_all_columns(connection: duckdb.DuckDBPyConnection, files: Sequence[File]) -> bool:
    """Whether the first file has every column of ours, so that it can stand for all.

    Then DuckDB need not read 1,000 footers before it begins (0.4 s of 1.0). Where another file
    lacks a column that is asked for, it says so.
    """
    if not files:
        return False
    try:
        columns = connection.execute(f"describe select * from {listed(TableFiles(files[:1]))}").fetchall()
    except duckdb.Error:
        return False
    return {column.name for column in COLUMNS[files[0].folder]()} <= {row[0] for row in columns}


def listed(files: TableFiles, options: str = "") -> str:
    """These files as a table: of all the columns that any of them has, unless they are alike."""
    names = [file.path if files.outside else file.url for file in files.files]
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    if files.outside and not options:
        options = ", filename = true"
    # A folder called family=Qwen is a folder, not a column.
    table = f"read_parquet([{quoted}], union_by_name = {not files.alike}, hive_partitioning = false{options})"
    if not files.outside:
        return table
    # A pattern takes what lies there; what is not named as ours never counts.
    ours = name_pattern(files.files[0].folder).replace("'", "''")
    return f"(select * from {table} where regexp_full_match(parse_filename(filename), '{ours}'))"


def union(files: TableFiles, columns: tuple[Column, ...]) -> str:
    """All files as one relation with exactly our columns, typed even where there is no file.

    A file written by an older version lacks the newer columns: they are NULL in it.
    """
    names = ", ".join(f'"{column.name}"' for column in columns)
    empty = f"select {_typed(columns)} where false"
    if not files.files:
        return empty
    return f"select {names} from ({empty} union all by name select * from {listed(files)})"


def _newest_rows(files: TableFiles) -> str:
    """The same key twice happens while loose files are merged: what was committed last wins.

    By its file, and not by the clock of the worker that measured: one that was a day ahead would win
    over what was measured after it. See `catalog.write.contents.Kind`.
    """
    names = ", ".join(f'"{column.name}"' for column in row_columns())
    if not any(map(is_part, files.files)):
        order, rows = "measured_at desc", union(files, row_columns())
    else:
        order = f"{_PART_NAME} desc nulls first, measured_at desc, filename desc"
        rows = (
            f"select {_typed(row_columns())}, '' as filename where false "
            f"union all by name select * from {listed(files, ', filename = true')}"
        )
    return f"""
        select {names} from ({rows})
        where repo is not null
        qualify row_number() over (partition by {_KEY} order by {order}) = 1"""


def _attempts(files: TableFiles) -> str:
    """A run that was merged stands in a part and, for a while, in its own file, too."""
    if not any(map(is_part, files.files)):
        return union(files, attempt_columns())
    names = ", ".join(column.name for column in attempt_columns())
    empty = f"select {_typed(attempt_columns())}, '' as filename where false"
    rows = f"select * from {listed(files, ', filename = true')}"
    return f"""
        select {names} from ({empty} union all by name {rows})
        qualify rank() over (
            partition by run_id order by {_PART_NAME} desc nulls first, filename desc) = 1"""


def _results(files: TableFiles, kind: str) -> str:
    """One that was made again, or merged, stands twice: the newest is shown."""
    names = ", ".join(f'"{column.name}"' for column in result_columns(kind))
    return f"""
        select {names} from ({union(files, stored_result_columns(kind))})
        qualify row_number() over (partition by {RESULT_KEY} order by made_at desc) = 1"""


def _without_files(condition: str) -> dict[str, str]:
    return {name: f"select {_typed(columns)} where {condition}" for name, columns in view_columns().items()}


def _typed(columns: tuple[Column, ...]) -> str:
    return ", ".join(f'null::{column.sql_type} as "{column.name}"' for column in columns)
