"""Files of a catalog as one table in SQL: of exactly our columns, typed even if there is no file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import duckdb

from catalog.files import ATTEMPTS, ENDING, ROWS, TOKENS, File, file_key, is_part, name_pattern
from catalog.schema_of_records import (
    Column,
    attempt_columns,
    row_columns,
    stored_result_columns,
    token_columns,
)
from survey.records.results import RESULTS

KEY_COLUMNS = "repo, sha, matrix"
_TIMES = "'0001-01-01'::timestamp and '9998-12-31 23:59:59.999999'::timestamp"
KEY_IS_KNOWN = "repo is not null and sha is not null and matrix is not null"
COLUMNS: Mapping[str, Callable[[], tuple[Column, ...]]] = {
    ROWS: row_columns,
    TOKENS: token_columns,
    ATTEMPTS: attempt_columns,
    **{kind: partial(stored_result_columns, kind) for kind in RESULTS},
}


@dataclass(frozen=True, slots=True)
class TableFiles:
    """Files that are read as one table.

    alike: all have the first one's columns. outside: by any client. superseded: tables of rows that are not
    the newest of their key.
    """

    files: Sequence[File]
    alike: bool = False
    outside: bool = False
    superseded: Collection[str] = ()


def with_rows(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[File], tokens: Sequence[File]
) -> list[File]:
    """The tokens files whose row exists: a table without its row is the orphan of a crash."""
    complete = {file.name for file in rows if not is_part(file)}
    if parts := [file for file in rows if is_part(file)]:
        keys = connection.execute(
            f"select {KEY_COLUMNS} from {listed(TableFiles(parts))} where {KEY_IS_KNOWN}"
        ).fetchall()
        complete |= {file_key(repo, sha, matrix) + ENDING for repo, sha, matrix in keys}
    return [file for file in tokens if file.name in complete]


def has_all_columns(connection: duckdb.DuckDBPyConnection, files: Sequence[File]) -> bool:
    """Whether the first file has every column of ours, so that it can stand for all.

    Then DuckDB need not read 1,000 footers before it begins (0.4 s of 1.0). It raises an error if another
    file lacks a column that a query reads.
    """
    if not files:
        return False
    try:
        columns = connection.execute(f"describe select * from {listed(TableFiles(files[:1]))}").fetchall()
    except duckdb.Error:
        return False
    return {column.name for column in COLUMNS[files[0].folder]()} <= {row[0] for row in columns}


def listed(files: TableFiles, options: str = "") -> str:
    """These files as a table: with the columns of any of them, or, if they are alike, of the first."""
    names = [file.path if files.outside else file.url for file in files.files]
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names)
    if files.outside and not options:
        options = ", filename = true"
    # Without hive partitioning: a folder called family=Qwen is a folder, not a column.
    table = f"read_parquet([{quoted}], union_by_name = {not files.alike}, hive_partitioning = false{options})"
    if not files.outside:
        return table
    # A pattern matches whatever lies there; files that are not named as ours never count.
    ours = name_pattern(files.files[0].folder).replace("'", "''")
    return f"(select * from {table} where regexp_full_match(parse_filename(filename), '{ours}'))"


def union(files: TableFiles, columns: tuple[Column, ...]) -> str:
    """All files as one relation with exactly our columns, typed even if there is no file.

    A file of an older version lacks newer columns: they are NULL.
    """
    empty = f"select {typed_nulls(columns)} where false"
    if not files.files:
        return empty
    return (
        f"select {readable_columns(columns)} from ({empty} union all by name select * from {listed(files)})"
    )


def readable_columns(columns: tuple[Column, ...]) -> str:
    """The select list of these columns of a file, without times that nobody could read."""
    return ", ".join(
        f'{time_of(column.name)} as "{column.name}"' if column.sql_type == "TIMESTAMP" else f'"{column.name}"'
        for column in columns
    )


def time_of(name: str) -> str:
    """A stored time as SQL: NULL if it is forged, so that Python has none such, or none after it.

    At some times DuckDB itself fails: one row would stop each answer.
    """
    return f'case when "{name}" between {_TIMES} then "{name}" end'


def typed_nulls(columns: tuple[Column, ...]) -> str:
    """The select list of a row of these columns without values."""
    return ", ".join(f'null::{column.sql_type} as "{column.name}"' for column in columns)
