"""Merge loose files into parts of some thousand rows, while others read.

No record is kept of what was merged: a file may be removed if each of its rows stands, the same or newer,
in a part that existed before this compaction began. So inputs live one compaction longer than their
part, a crash at any step leaves rows twice and never none, and views show the newest of a key. Only the
holder of the catalog's lock may compact. Single results are written without the lock, but never under a
name that existed before: the file that is removed is the file that was read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from catalog.files import ATTEMPTS, PART, File, is_part, loose_files
from catalog.schema_of_records import arrow_schema
from catalog.store.lock import Lock
from catalog.store.open import CatalogStore
from catalog.tables.column_chunks import parquet_file
from catalog.tables.inspection import LeftOut
from catalog.write.contents import KINDS, Content, Key, Kind, contents_of
from catalog.write.parts import write_parts
from catalog.write.retire import retire, with_our_columns
from survey.errors import CommitError
from survey.process.clock import utc_now

LOOSE_FILES_DUE = 500  # so many loose files make a run merge them: 1,000 would slow each query down
LOOSE_RUNS_DUE = 30  # files of attempts, likewise: merged, a month of nights takes what a night takes
_STAMP = "%Y%m%dT%H%M%S%f"

Precedence = tuple[Any, ...]


@dataclass(slots=True)
class Compacted:
    """The result of a compaction. removed, merged, parts: files. rows: in the new parts.

    left_out: files that were not touched, as they are not readable tables of ours.
    """

    removed: int = 0
    merged: int = 0
    parts: int = 0
    rows: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


def is_due(store: CatalogStore) -> bool:
    """Whether there are so many loose files that a run should merge them at its end."""
    for kind in KINDS:
        due = LOOSE_RUNS_DUE if kind.folder == ATTEMPTS else LOOSE_FILES_DUE
        if sum(file.is_named_by_us for file in loose_files(store, kind.folder)) >= due:
            return True
    return False


def compact(store: CatalogStore, lock: Lock) -> Compacted:
    """Remove files that an earlier compaction merged, then merge the loose files.

    Raises CommitError, also if the parts do not provably hold the rows of the files to be removed.
    """
    done = Compacted(removed=retire(store, lock))
    for kind in KINDS:
        _merge(store, kind, done)
    return done


def _merge(store: CatalogStore, kind: Kind, done: Compacted) -> None:
    files, left_out = store.files(kind.folder), list[LeftOut]()
    contents = contents_of(store, files, kind, left_out)
    done.left_out += left_out
    winner: dict[Key, Precedence] = {}
    for content in contents:
        for key, stamp in content.stamps.items():
            mine = kind.precedence(content.file, stamp)
            winner[key] = max(mine, winner.get(key, mine))
    inputs = [content for content in contents if not content.newer and _is_small(content, kind)]
    if _lacks_parts(files, contents, left_out):
        inputs = [content for content in inputs if not is_part(content.file)]
    if not inputs:
        return
    if len(inputs) < 2 and all(is_part(content.file) for content in inputs):
        return  # a single small part gains nothing
    written = write_parts(
        store, kind, _chosen(store, inputs, winner, kind), _after([content.file for content in contents])
    )
    done.parts, done.rows = done.parts + written.parts, done.rows + written.rows
    done.merged += sum(not is_part(content.file) for content in inputs)


def _after(files: Sequence[File]) -> str:
    """The current time, or one after every existing part: the clock that named one may have been ahead."""
    now = utc_now()
    for file in filter(is_part, files):
        with contextlib.suppress(ValueError, OverflowError):  # a part that somebody named by hand
            made = datetime.strptime(file.name.removeprefix(PART)[:21], _STAMP)
            now = max(now, made + timedelta(microseconds=1))
    return f"{now:{_STAMP}}"


def _is_small(content: Content, kind: Kind) -> bool:
    rows = sum(stamp[1] for stamp in content.stamps.values()) if kind.whole_files else len(content.stamps)
    return not is_part(content.file) or rows < kind.part_rows // 2


def _lacks_parts(files: Sequence[File], contents: Sequence[Content], left_out: Sequence[LeftOut]) -> bool:
    """Whether a part of ours could not be read. Then no other part is merged.

    A copy of a key in that other part would get a newer name than the copy in the unreadable part, which may
    be the newer one.
    """
    foreign = {item.file.path for item in left_out if item.fate == "foreign"}
    known = {content.file.path for content in contents if content.stamps}
    return any(is_part(file) and file.path not in known | foreign for file in files)


def _chosen(
    store: CatalogStore, inputs: Sequence[Content], winner: Mapping[Key, Precedence], kind: Kind
) -> Iterator[pa.Table]:
    """The newest row of each key: these rows go into parts."""
    schema = arrow_schema(kind.columns())
    for content in inputs:
        keys_to_merge = {key for key in content.stamps if winner[key][-1] == content.file.path}
        if not keys_to_merge:
            continue
        try:
            with store.open(content.file) as opened:
                file = parquet_file(opened)
                batches = [file.read()] if kind.whole_files else file.iter_batches(batch_size=256)
                for batch in batches:
                    yield _only(pa.table(batch), keys_to_merge, kind, schema)
        except (pa.ArrowException, OSError) as error:
            # A file that turns out to be damaged stays, and views name it; rows read before the damage stand
            # twice, which views expect. A file whose bytes could not be read is not damaged.
            if isinstance(error, OSError) and error.errno is not None:
                problem = f"cannot be read: {error.strerror or error}"
                raise CommitError("commit-failed", str(content.file), problem) from error


def _only(table: pa.Table, keys_to_merge: set[Key], kind: Kind, schema: pa.Schema) -> pa.Table:
    """The rows of these keys, with exactly our columns."""
    keys = zip(*(table[name].to_pylist() for name in kind.key), strict=True)
    chosen = [key in keys_to_merge for key in keys]
    if not all(chosen):
        table = table.filter(pa.array(chosen))
    return with_our_columns(table, schema)
