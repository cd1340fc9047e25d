"""What makes a Parquet file a table of this catalog: the columns of a version of ours, and a mark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import xxhash

from catalog.files import ATTEMPTS, ROWS, TOKENS
from catalog.schema_of_records import (
    Column,
    arrow_schema,
    attempt_columns,
    row_columns,
    stored_result_columns,
    token_columns,
)

if TYPE_CHECKING:
    import pyarrow as pa

MARK = b"centroid_survey"  # in the metadata of every file: the name of its table, and a digest of its columns
# Columns of the files of every version: a file without one of them is no table of ours.
ALWAYS: Mapping[str, tuple[str, ...]] = {
    ROWS: ("repo", "sha", "matrix", "vocab_rows", "unique_rows", "measures", "measured_at", "centroid",
           "dead_centroid", "live_centroid", "black_holes", "exponents_all", "exponents_dead"),
    TOKENS: ("repo", "sha", "matrix", "token_id", "norm", "row_hash", "black_hole"),
    ATTEMPTS: ("run_id", "repo", "revision", "sha", "matrix", "status", "finished_at"),
    "kinematics": ("made_at", "source", "steps", "centroid_norm"),
    "training_runs": ("made_at", "run", "steps", "loss"),
    "clusters": ("made_at", "repo", "sha", "ref_token_id", "exponent_ladder"),
    "spectra": ("made_at", "repo", "sha", "matrix", "singular_values"),
}  # fmt: skip


def columns_in(folder: str) -> tuple[Column, ...]:
    """Columns of the files in one of the catalog's folders."""
    of_survey = {ROWS: row_columns, TOKENS: token_columns, ATTEMPTS: attempt_columns}
    return of_survey[folder]() if folder in of_survey else stored_result_columns(folder)


def mark_of(folder: str, types: Mapping[str, str]) -> bytes:
    """The value of MARK in the metadata of a file with these columns. types: SQL types by name, in order.

    It exposes a damaged schema, and a copy that has other columns and kept the metadata.
    """
    described = "\n".join(f"{name} {kind}" for name, kind in types.items())
    return f"{folder} {xxhash.xxh3_64_hexdigest(described.encode())}".encode()


def file_schema(folder: str) -> pa.Schema:
    """The Arrow schema of the files in one of the catalog's folders, marked as ours."""
    return _marked_schema(folder, columns_in(folder))


def part_schema(folder: str) -> pa.Schema:
    """The same for merged files: lists stand last, so that what most questions read lies together."""
    columns = columns_in(folder)
    lists = tuple(column for column in columns if column.sql_type.endswith("]"))
    return _marked_schema(folder, (*(column for column in columns if column not in lists), *lists))


def _marked_schema(folder: str, columns: tuple[Column, ...]) -> pa.Schema:
    types = {column.name: column.sql_type for column in columns}
    return arrow_schema(columns).with_metadata({MARK: mark_of(folder, types)})


def problem_of(folder: str, types: Mapping[str, str]) -> str:
    """Why these are not the columns of this version or an older one; empty if they are."""
    known = {column.name: column.sql_type for column in columns_in(folder)}
    if lacking := [name for name in ALWAYS[folder] if name not in types]:
        return f"not a table of {folder}/: it has no column {lacking[0]}"
    for name, kind in types.items():
        if name not in known:
            return f"not a table of {folder}/: nobody knows its column {name}"
        if kind != known[name]:
            return f"not a table of {folder}/: its column {name} is {kind}, expected {known[name]}"
    return ""


def problem_of_rows(rows: int) -> str:
    """The problem with a number of rows: the survey commits no empty table. Empty if there is none."""
    return "" if rows > 0 else "it has no rows"
