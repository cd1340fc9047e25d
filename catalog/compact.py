"""Merge loose files into parts of some thousand rows, while others read.

Nothing is written down about what was merged: a file may be removed when everything in it stands,
as new or newer, in a part that was there before this compaction began. So inputs live one
compaction longer than their part, a crash at any step leaves rows twice and never none, and views
show the newest of a key. Only the holder of the catalog's lock may compact. Single results are written
without it, but never under a name that was there: what is removed is what was looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.files import ATTEMPTS, ENDING, PART, ROWS, File
from catalog.lock import Held
from catalog.place import Place, is_part, loose_files
from catalog.schema import (
    RESULT_KEY,
    Column,
    arrow_schema,
    attempt_columns,
    row_columns,
    stored_result_columns,
)
from catalog.views import Files, connect, listed
from survey.results import RESULTS

DUE = 500  # loose files from which on a run merges them: 1,000 would slow each query down
PART_ROWS = 4096
PART_BYTES = 256 << 20  # in memory, before compression
GROUP_ROWS = 1024  # few large groups: 100,000 wide rows in groups of 32 took ten times as long
GROUP_BYTES = 48 << 20
AT_ONCE = 512  # files that one connection looks at: it keeps each one's footer, 50 kB
ATTEMPT_ROWS = 1 << 18  # in one part

Key = tuple[Any, ...]  # repo, sha, matrix; or the run; or what tells a single result from others
Stamp = tuple[Any, ...]  # of two copies of a key the one with the larger stamp wins


@dataclass(slots=True)
class Compacted:
    """What a compaction did. removed, merged, parts: files; rows: those in the new parts."""

    removed: int = 0
    merged: int = 0
    parts: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the files of one folder are merged. key, stamp: SQL."""

    folder: str
    columns: Callable[[], tuple[Column, ...]]
    key: tuple[str, ...]
    stamp: tuple[str, ...]
    part_rows: int
    whole_files: bool  # views choose one file for each run, so its attempts stay together


_ROWS = _Kind(ROWS, row_columns, ("repo", "sha", "matrix"), ("max(measured_at)",), PART_ROWS, False)
_ATTEMPTS = _Kind(
    ATTEMPTS, attempt_columns, ("run_id",), ("max(finished_at)", "count(*)"), ATTEMPT_ROWS, True
)
_RESULTS = tuple(
    _Kind(kind, partial(stored_result_columns, kind), (RESULT_KEY,), ("max(made_at)",), PART_ROWS, False)
    for kind in RESULTS
)
_KINDS = (_ROWS, _ATTEMPTS, *_RESULTS)


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file holds: for each key its stamp."""

    file: File
    stamps: Mapping[Key, Stamp]


def is_due(place: Place) -> bool:
    """Whether so many loose files lie about that a run should merge them at its end."""
    return any(len(loose_files(place, kind.folder)) >= DUE for kind in _KINDS)


def compact(place: Place, lock: Held) -> Compacted:
    """Remove what an earlier compaction merged, then merge what is loose now. Raises CommitError."""
    done = Compacted(removed=retire(place, lock))
    for kind in _KINDS:
        _merge(place, kind, done)
    return done


def retire(place: Place, lock: Held) -> int:
    """Remove files whose content stands in parts; how many. Raises CommitError."""
    removed = 0
    for kind in _KINDS:
        files = place.files(kind.folder)
        if len(files) < 2 or not any(map(is_part, files)):
            continue
        covered = _covered(_contents(place, files, kind))
        if lock.ours:
            place.remove(covered)
            removed += len(covered)
    return removed


def _covered(contents: Sequence[_Content]) -> list[File]:
    """Files of which everything stands, as new or newer, in parts that stay.

    Parts are judged from the newest on, each against those that stay: two equal ones never both go.
    """
    newest: dict[Key, Stamp] = {}
    covered = []
    parts = sorted((c for c in contents if is_part(c.file)), key=lambda c: c.file.name, reverse=True)
    for content in (*parts, *(c for c in contents if not is_part(c.file))):
        if all(key in newest and newest[key] >= stamp for key, stamp in content.stamps.items()):
            covered.append(content.file)
        elif is_part(content.file):
            for key, stamp in content.stamps.items():
                newest[key] = max(stamp, newest.get(key, stamp))
    return covered


def _contents(place: Place, files: Sequence[File], kind: _Kind) -> list[_Content]:
    """What each readable file holds; a damaged or a foreign one is left out, so it stays as it is."""
    cut_short, gone = place.cut_short(files)
    left_out = {file.path for file in (*cut_short, *gone)}
    good = [file for file in files if file.path not in left_out]
    found: dict[str, dict[Key, Stamp]] = {}
    for first in range(0, len(good), AT_ONCE):
        found |= _stamps_of(place, good[first : first + AT_ONCE], kind)
    return [_Content(file, found[file.path]) for file in good if file.path in found]


def _stamps_of(place: Place, files: Sequence[File], kind: _Kind) -> dict[str, dict[Key, Stamp]]:
    connection = connect(place)
    try:
        return _stamps(connection, files, kind)
    except duckdb.Error:  # one of them cannot be read: look at each by itself
        found: dict[str, dict[Key, Stamp]] = {}
        for file in files:
            with contextlib.suppress(duckdb.Error):
                found |= _stamps(connection, [file], kind)
        return found
    finally:
        connection.close()


def _stamps(
    connection: duckdb.DuckDBPyConnection, files: Sequence[File], kind: _Kind
) -> dict[str, dict[Key, Stamp]]:
    """By path: each key with its stamp."""
    found: dict[str, dict[Key, Stamp]] = {}
    if not files:
        return found
    table = listed(Files(files), ", filename = true")
    paths = {file.url: file.path for file in files}
    rows = connection.execute(
        f"SELECT filename, {', '.join((*kind.key, *kind.stamp))} FROM {table} "
        f"WHERE {kind.key[0]} IS NOT NULL GROUP BY filename, {', '.join(kind.key)}"
    ).fetchall()
    keys = len(kind.key)
    for url, *values in rows:
        found.setdefault(paths[url], {})[tuple(values[:keys])] = tuple(values[keys:])
    return found


def _merge(place: Place, kind: _Kind, done: Compacted) -> None:
    contents = _contents(place, place.files(kind.folder), kind)
    winner: dict[Key, tuple[Stamp, bool, str]] = {}
    for content in contents:
        for key, stamp in content.stamps.items():
            mine = (stamp, is_part(content.file), content.file.path)
            winner[key] = max(mine, winner.get(key, mine))
    inputs = [content for content in contents if _is_small(content, kind)]
    if len(inputs) < 2 and all(is_part(content.file) for content in inputs):
        return  # a small part waits for company
    feed = _Feed(_chosen(place, inputs, winner, kind))
    began = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    while feed.head is not None:
        name = f"{PART}{began}-{done.parts:03d}{ENDING}"
        place.publish(kind.folder, name, lambda opened: _write_part(opened, feed, kind, done), large=True)
        done.parts += 1
    done.merged += sum(not is_part(content.file) for content in inputs)


def _is_small(content: _Content, kind: _Kind) -> bool:
    rows = sum(stamp[1] for stamp in content.stamps.values()) if kind.whole_files else len(content.stamps)
    return not is_part(content.file) or rows < kind.part_rows // 2


def _chosen(
    place: Place, inputs: Sequence[_Content], winner: Mapping[Key, tuple[Stamp, bool, str]], kind: _Kind
) -> Iterator[pa.Table]:
    """The rows that go into parts: of each key the newest."""
    schema = arrow_schema(kind.columns())
    for content in inputs:
        wanted = {key for key in content.stamps if winner[key][2] == content.file.path}
        if not wanted:
            continue
        # A file that turns out to be damaged stays, and views name it; rows of it that came
        # before stand twice, which views expect.
        with contextlib.suppress(pa.ArrowException, OSError), place.open(content.file) as opened:
            file = pq.ParquetFile(opened)
            if set(file.schema_arrow.names) - set(schema.names):
                continue  # written by a newer version: merging would lose its columns
            batches = [file.read()] if kind.whole_files else file.iter_batches(batch_size=256)
            for batch in batches:
                yield _only(pa.table(batch), wanted, kind, schema)


def _only(table: pa.Table, wanted: set[Key], kind: _Kind, schema: pa.Schema) -> pa.Table:
    """The rows of these keys, with exactly our columns."""
    keys = zip(*(table[name].to_pylist() for name in kind.key), strict=True)
    chosen = [key in wanted for key in keys]
    if not all(chosen):
        table = table.filter(pa.array(chosen))
    if table.schema.equals(schema):
        return table
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.schema.names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


class _Feed:
    """Tables one after another; `head` is the next one, or None."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self.head: pa.Table | None = next(tables, None)

    def take(self) -> pa.Table:
        taken, self.head = self.head, next(self._tables, None)
        return taken


def _write_part(opened: IO[bytes], feed: _Feed, kind: _Kind, done: Compacted) -> None:
    """Write tables until the part is full."""
    rows = size = 0
    schema = arrow_schema(kind.columns())
    with pq.ParquetWriter(opened, schema, compression="zstd", write_page_checksum=True) as writer:
        while feed.head is not None and rows < kind.part_rows and size < PART_BYTES:
            table = _group(feed, kind.part_rows if kind.whole_files else GROUP_ROWS)
            writer.write_table(table, row_group_size=max(1, len(table)))
            rows, size = rows + len(table), size + table.nbytes
    done.rows += rows


def _group(feed: _Feed, room: int) -> pa.Table:
    """The next row group."""
    tables: list[pa.Table] = []
    rows = size = 0
    while feed.head is not None and rows < room and size < GROUP_BYTES:
        table = feed.take()
        tables.append(table)
        if len(tables) == 64:  # 1,000 tables of one row and 110 columns weigh more than their content
            tables = [pa.concat_tables(tables).combine_chunks()]
        rows, size = rows + len(table), size + table.nbytes
    return pa.concat_tables(tables)
