"""The views over a catalog's files, each made when a statement names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

import duckdb

from catalog.layout import ATTEMPTS, ENDING, ROWS, TOKENS, File, file_key, is_part, name_pattern
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
_PART_NAME = "CASE WHEN regexp_matches(filename, '/part-[^/@]*$') THEN parse_filename(filename) END"
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

    memory_mb: what a question may take; none of it then goes to a disk. Default: DuckDB's own limit.
    """
    connection = duckdb.connect()
    store.attach(connection)
    store.confined.stops.interrupt(connection)
    return _confined(connection, memory_mb)


def connect_without_files() -> duckdb.DuckDBPyConnection:
    """A connection that can read nothing, with the views of a catalog in which nothing stands."""
    connection = duckdb.connect()
    for name, body in empty().items():
        connection.execute(f"CREATE VIEW {name} AS {body}")
    return _confined(connection)


def _confined(
    connection: duckdb.DuckDBPyConnection, memory_mb: int | None = None
) -> duckdb.DuckDBPyConnection:
    if memory_mb is not None:
        connection.execute(f"SET memory_limit = '{memory_mb}MB'")
        connection.execute("SET max_temp_directory_size = '0KB'")
    # What is in the folder for temporary files can be read, too: not .tmp of wherever this was started.
    temporary = str(Path(gettempdir(), f"survey-{uuid4().hex}")).replace("'", "''")
    connection.execute(f"SET temp_directory = '{temporary}'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")  # a table is no variable of ours
    connection.execute("SET enable_geoparquet_conversion = false")  # a note in a file changes no type
    # Footers are read once for a view and a statement; 1,000 loose files: 0.2 s less.
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute("SET lock_configuration = true")
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
    """The views before a statement names them: their columns, and an error where one is read.

    To make a view of files DuckDB opens each of them, which is most of a query's time.
    """
    return _without_files("error('this view was not opened')::BOOLEAN")


def empty() -> dict[str, str]:
    """The views of a catalog in which nothing stands: what a question's columns are found with."""
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
    made = {
        "measured_rows": _newest_rows(rows),
        "attempts": _attempts(attempts),
        # What a repository is now: the commit to which `main` resolved last, or where that was
        # never asked for the last plain revision. A row of which no attempt tells is shown.
        "models": f"""
            SELECT {models} FROM measured_rows
            LEFT JOIN (
                SELECT {_KEY}, last_plain IS NOT NULL AND row_number() OVER (
                    PARTITION BY repo, matrix
                    ORDER BY last_default DESC NULLS LAST, last_plain DESC NULLS LAST, sha) = 1 AS current
                FROM (
                    SELECT {_KEY}, max(finished_at) FILTER (pattern IS NULL) AS last_plain,
                        max(finished_at) FILTER (pattern IS NULL AND revision = 'main') AS last_default
                    FROM attempts WHERE status IN ('measured', 'unchanged') GROUP BY {_KEY})
            ) USING ({_KEY})
            WHERE coalesce(current, true)""",
        "models_history": f"""
            SELECT {models}, list_sort(list_distinct(list_append(names, measured_rows.revision))) AS revisions
            FROM measured_rows
            LEFT JOIN (SELECT {_KEY}, list(DISTINCT revision) AS names FROM attempts GROUP BY {_KEY})
            USING ({_KEY})""",
        "black_holes": f"""
            SELECT {_KEY}, {hole}, black_hole_texts[hole.rank] AS texts
            FROM (SELECT {_KEY}, unnest(black_holes) AS hole, black_hole_texts FROM measured_rows)""",
        "exponents": f"""
            SELECT {_KEY}, exponent, all_count, dead_count, all_count - dead_count AS live_count
            FROM (
                SELECT {_KEY}, unnest(range(len(exponents_all))) AS exponent,
                    unnest(exponents_all) AS all_count, unnest(exponents_dead) AS dead_count
                FROM measured_rows)
            WHERE all_count > 0""",
        "vectors": f"SELECT {_KEY}, {', '.join(VECTORS)} FROM measured_rows",
        "sketches": f"SELECT {_KEY}, {', '.join(SKETCHES)} FROM measured_rows",
        "tokens": union(tokens, token_columns()),
        **{kind: _results(of(kind), kind) for kind in RESULTS},
    }
    return {name: made[name] for name in made if name in names}


def with_rows(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[File], tokens: Sequence[File]
) -> list[File]:
    """The tokens files whose row exists: one without it is the orphan of a crash."""
    complete = {file.name for file in rows if not is_part(file)}
    if parts := [file for file in rows if is_part(file)]:
        keys = connection.execute(
            f"SELECT {_KEY} FROM {listed(TableFiles(parts))} WHERE repo IS NOT NULL"
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
        found = connection.execute(f"DESCRIBE SELECT * FROM {listed(TableFiles(files[:1]))}").fetchall()
    except duckdb.Error:
        return False
    return {column.name for column in COLUMNS[files[0].folder]()} <= {row[0] for row in found}


def listed(files: TableFiles, more: str = "") -> str:
    """These files as a table: of all the columns that any of them has, unless they are alike."""
    names = [file.path if files.outside else file.url for file in files.files]
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    if files.outside and not more:
        more = ", filename = true"
    # A folder called family=Qwen is a folder, not a column.
    table = f"read_parquet([{quoted}], union_by_name = {not files.alike}, hive_partitioning = false{more})"
    if not files.outside:
        return table
    # A pattern takes what lies there; what is not named as ours never counts.
    ours = name_pattern(files.files[0].folder).replace("'", "''")
    return f"(SELECT * FROM {table} WHERE regexp_full_match(parse_filename(filename), '{ours}'))"


def union(files: TableFiles, columns: tuple[Column, ...]) -> str:
    """All files as one relation with exactly our columns, typed even where there is no file.

    A file written by an older version lacks the newer columns: they are NULL in it.
    """
    names = ", ".join(f'"{column.name}"' for column in columns)
    empty = f"SELECT {_typed(columns)} WHERE false"
    if not files.files:
        return empty
    return f"SELECT {names} FROM ({empty} UNION ALL BY NAME SELECT * FROM {listed(files)})"


def _newest_rows(files: TableFiles) -> str:
    """The same key twice happens while loose files are merged: what was committed last wins.

    By its file, and not by the clock of the worker that measured: one that was a day ahead would win
    over what was measured after it. See `catalog.write.contents.Kind`.
    """
    names = ", ".join(f'"{column.name}"' for column in row_columns())
    if not any(map(is_part, files.files)):
        order, found = "measured_at DESC", union(files, row_columns())
    else:
        order = f"{_PART_NAME} DESC NULLS FIRST, measured_at DESC, filename DESC"
        found = (
            f"SELECT {_typed(row_columns())}, '' AS filename WHERE false "
            f"UNION ALL BY NAME SELECT * FROM {listed(files, ', filename = true')}"
        )
    return f"""
        SELECT {names} FROM ({found})
        WHERE repo IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY {_KEY} ORDER BY {order}) = 1"""


def _attempts(files: TableFiles) -> str:
    """A run that was merged stands in a part and, for a while, in its own file, too."""
    if not any(map(is_part, files.files)):
        return union(files, attempt_columns())
    names = ", ".join(column.name for column in attempt_columns())
    empty = f"SELECT {_typed(attempt_columns())}, '' AS filename WHERE false"
    found = f"SELECT * FROM {listed(files, ', filename = true')}"
    return f"""
        SELECT {names} FROM ({empty} UNION ALL BY NAME {found})
        QUALIFY rank() OVER (
            PARTITION BY run_id ORDER BY {_PART_NAME} DESC NULLS FIRST, filename DESC) = 1"""


def _results(files: TableFiles, kind: str) -> str:
    """One that was made again, or merged, stands twice: the newest is shown."""
    names = ", ".join(f'"{column.name}"' for column in result_columns(kind))
    return f"""
        SELECT {names} FROM ({union(files, stored_result_columns(kind))})
        QUALIFY row_number() OVER (PARTITION BY {RESULT_KEY} ORDER BY made_at DESC) = 1"""


def _without_files(condition: str) -> dict[str, str]:
    return {name: f"SELECT {_typed(columns)} WHERE {condition}" for name, columns in view_columns().items()}


def _typed(columns: tuple[Column, ...]) -> str:
    return ", ".join(f'NULL::{column.sql_type} AS "{column.name}"' for column in columns)
