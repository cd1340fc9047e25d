"""The keys in each file of a folder with their stamps, and which of several copies is the newest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import duckdb

from catalog.files import ATTEMPTS, ROWS, File, is_part, result_key
from catalog.read.connection import connect_catalog
from catalog.read.table_files import TableFiles, listed, time_of
from catalog.schema_of_records import RESULT_KEY, Column, attempt_columns, row_columns, stored_result_columns
from catalog.store.open import CatalogStore
from catalog.tables.inspection import LeftOut, encrypted_among, inspect
from survey.records.results import RESULTS

PART_ROWS = 4096
ROW_GROUP_ROWS = 1024  # few large groups: 100,000 wide rows in groups of 32 took ten times as long
ATTEMPT_ROWS = 1 << 18  # in one part
# By model, so that a year of one model's nights lies in one group, and its equal texts take no room.
ATTEMPT_GROUP_ROWS = 1 << 14
FILES_PER_CONNECTION = 512  # files that one connection reads: it keeps each one's footer, 50 kB

Key = tuple[Any, ...]  # repo, sha, matrix; or the run; or the key of a single result
Stamp = tuple[Any, ...]  # time of measurement, by the clock of its machine


@dataclass(frozen=True, slots=True)
class Kind:
    """How the files of one folder are merged. key, stamp: SQL.

    by_file: the newest of two copies of a key is the one whose file was committed last, whatever the clocks
    of the workers say. A loose file has one key and is replaced with it, so it is as new as any part;
    of two parts the later name is newer. Single results have a file for each time instead.
    """

    folder: str
    columns: Callable[[], tuple[Column, ...]]
    key: tuple[str, ...]
    stamp: tuple[str, ...]
    part_rows: int
    group_rows: int  # in a row group of a part
    part_order: tuple[str, ...]  # of the rows of a part: none if the loose files' names give it
    whole_files: bool  # views choose one file for each run, so its attempts stay together
    by_file: bool

    def precedence(self, file: File, stamp: Stamp) -> tuple[Any, ...]:
        """A value that orders the copies of a key: the one with the largest is shown."""
        order = (not is_part(file), file.name if is_part(file) else "")
        return (*order, stamp, file.path) if self.by_file else (stamp, *order, file.path)


def _newest(name: str) -> str:
    """The newest of a file's times as SQL; the first of all if it has none that can be read."""
    return f"coalesce(max({time_of(name)}), '0001-01-01'::timestamp)"


def _of_results(kind: str) -> Kind:
    columns = partial(stored_result_columns, kind)
    return Kind(
        kind, columns, (RESULT_KEY,), (_newest("made_at"),), PART_ROWS, ROW_GROUP_ROWS, (), False, False
    )


_OF_RUN = (_newest("finished_at"), "count(*)")
KINDS = (
    Kind(
        ROWS, row_columns, ("repo", "sha", "matrix"), (_newest("measured_at"),),
        PART_ROWS, ROW_GROUP_ROWS, (), False, True,
    ),
    Kind(
        ATTEMPTS, attempt_columns, ("run_id",), _OF_RUN,
        ATTEMPT_ROWS, ATTEMPT_GROUP_ROWS, ("repo", "revision", "matrix", "finished_at"), True, True,
    ),
    *map(_of_results, RESULTS),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Content:
    """The stamps of a file by their keys. newer: it also has columns that this version does not know."""

    file: File
    stamps: Mapping[Key, Stamp]
    newer: bool


def contents_of(
    store: CatalogStore, files: Sequence[File], kind: Kind, left_out: list[LeftOut] | None = None
) -> list[Content]:
    """The contents of each table of ours. Other files are added to `left_out`, and stay as they are."""
    inspected = inspect(store, files)
    encrypted = encrypted_among(store, inspected.sound)
    if left_out is not None:
        left_out += inspected.left_out + encrypted
    readable = [file for file in inspected.sound if file not in {item.file for item in encrypted}]
    newer = {file.path for file in inspected.newer}
    stamps: dict[str, dict[Key, Stamp]] = {}
    for first in range(0, len(readable), FILES_PER_CONNECTION):
        stamps |= _stamps_of(store, readable[first : first + FILES_PER_CONNECTION], kind)
    sound = [file for file in readable if file.path in stamps]
    return [Content(file, stamps[file.path], file.path in newer) for file in sound]


def last_made(store: CatalogStore, kind: str, key: tuple[str, ...]) -> datetime | None:
    """The time of the newest single result of a key; None if there is none."""
    name = result_key(*key)
    # Loose files of other keys need not be opened: their names begin with their keys.
    files = [file for file in store.files(kind) if is_part(file) or file.name.startswith(f"{name}.")]
    contents = contents_of(store, files, next(known for known in KINDS if known.folder == kind))
    made = [content.stamps[(name,)][0] for content in contents if (name,) in content.stamps]
    return max(made, default=None)


def _stamps_of(store: CatalogStore, files: Sequence[File], kind: Kind) -> dict[str, dict[Key, Stamp]]:
    connection = connect_catalog(store)
    with store.duckdb_files.reading():
        try:
            return _stamps_at_once(connection, store, files, kind)
        finally:
            connection.close()


def _stamps_at_once(
    connection: duckdb.DuckDBPyConnection, store: CatalogStore, files: Sequence[File], kind: Kind
) -> dict[str, dict[Key, Stamp]]:
    try:
        return _stamps(connection, files, kind)
    except duckdb.Error as error:  # one of them cannot be read: read each by itself
        store.duckdb_files.stops.refuse(error)
        stamps: dict[str, dict[Key, Stamp]] = {}
        for file in files:
            with contextlib.suppress(duckdb.Error):
                stamps |= _stamps(connection, [file], kind)
        return stamps


def _stamps(
    connection: duckdb.DuckDBPyConnection, files: Sequence[File], kind: Kind
) -> dict[str, dict[Key, Stamp]]:
    """The stamps by path and key."""
    stamps: dict[str, dict[Key, Stamp]] = {}
    if not files:
        return stamps
    table = listed(TableFiles(files), ", filename = true")
    paths = {file.url: file.path for file in files}
    is_known = " and ".join(f"{part} is not null" for part in kind.key)
    rows = connection.execute(
        f"select filename, {', '.join((*kind.key, *kind.stamp))} from {table} "
        f"where {is_known} group by filename, {', '.join(kind.key)}"
    ).fetchall()
    keys = len(kind.key)
    for url, *values in rows:
        stamps.setdefault(paths[url], {})[tuple(values[:keys])] = tuple(values[keys:])
    return stamps
