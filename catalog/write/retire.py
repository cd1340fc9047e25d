"""Remove files that compaction merged, once it is proved that the parts hold their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from catalog.files import File, is_part
from catalog.schema_of_records import arrow_schema
from catalog.store.lock import Lock
from catalog.store.open import CatalogStore
from catalog.tables.column_chunks import parquet_file
from catalog.write.contents import KINDS, Content, Key, Kind, Stamp, contents_of
from catalog.write.digest import catalog_row_digests
from survey.errors import CommitError

PROOF_BATCH_ROWS = 256  # in memory, 50 kB each

RowDigests = dict[Key, int]


def retire(store: CatalogStore, lock: Lock) -> int:
    """Remove files whose rows stand in parts. Returns their number.

    Raises CommitError and removes nothing if a part does not hold the rows that it should.
    """
    covered = []
    for kind in KINDS:
        files = store.files(kind.folder)
        if len(files) > 1 and any(map(is_part, files)):
            covered += _covered(store, contents_of(store, files, kind), kind)
    if not covered or not lock.ours:
        return 0
    store.remove(covered)
    return len(covered)


def _covered(store: CatalogStore, contents: Sequence[Content], kind: Kind) -> list[File]:
    """Files whose rows all stand, the same or newer, in parts that stay. Raises CommitError.

    Parts are judged from the newest on, each against those that stay, so two equal parts never both go.
    """
    newest: dict[Key, tuple[Stamp, Content]] = {}  # with the part that holds it
    covered: list[Content] = []
    known = [content for content in contents if not content.newer]
    parts = sorted((c for c in known if is_part(c.file)), key=lambda c: c.file.name, reverse=True)
    for content in (*parts, *(c for c in known if not is_part(c.file))):
        if all(key in newest and _is_held(content, key, newest[key][0], kind) for key in content.stamps):
            covered.append(content)
        elif is_part(content.file):
            for key, stamp in content.stamps.items():
                if key not in newest or (not kind.by_file and stamp > newest[key][0]):
                    newest[key] = (stamp, content)
    _prove(store, covered, newest, kind)
    return [content.file for content in covered]


def _is_held(content: Content, key: Key, newest: Stamp, kind: Kind) -> bool:
    """Whether the newest copy in the parts is this one, or a later one."""
    stamp = content.stamps[key]
    if kind.by_file:  # a loose file with another time was written since
        return is_part(content.file) or stamp == newest
    return stamp <= newest


def _prove(
    store: CatalogStore, covered: Sequence[Content], newest: Mapping[Key, tuple[Stamp, Content]], kind: Kind
) -> None:
    """Prove that every copy stands in its part with equal values in all columns. Raises CommitError.

    A copy with another stamp than the newest one was measured again since, and is not shown any more.
    """
    same = [
        (content, {key for key, stamp in content.stamps.items() if stamp == newest[key][0]})
        for content in covered
    ]
    holders = {newest[key][1].file.path: newest[key][1] for _, keys in same for key in keys}
    part_digests: dict[str, RowDigests] = {
        path: _digests(store, [content], kind)[0] for path, content in holders.items()
    }
    for first in range(0, len(same), PROOF_BATCH_ROWS):
        some = same[first : first + PROOF_BATCH_ROWS]
        for (content, keys), digests in zip(
            some, _digests(store, [content for content, _ in some], kind), strict=True
        ):
            for key in keys:
                part = newest[key][1].file
                if key not in digests or digests[key] != part_digests[part.path].get(key):
                    problem = f"does not hold {' '.join(map(str, key))} as {content.file.name} does: "
                    raise CommitError("commit-failed", str(part), f"{problem}nothing was removed")


def _digests(store: CatalogStore, contents: Sequence[Content], kind: Kind) -> list[RowDigests]:
    """For each file, by key: the sum of the digests of its rows, in any order. Raises CommitError."""
    digests: list[RowDigests] = [{} for _ in contents]
    waiting: list[tuple[int, pa.Table]] = []
    for number, content in enumerate(contents):
        for table in _tables(store, content, kind):
            waiting.append((number, table))
            if sum(len(table) for _, table in waiting) >= PROOF_BATCH_ROWS:
                _add(waiting, digests, kind)
                waiting = []
    _add(waiting, digests, kind)
    return digests


def _add(tables: Sequence[tuple[int, pa.Table]], digests: list[RowDigests], kind: Kind) -> None:
    if not tables:
        return
    whole = pa.concat_tables([table for _, table in tables])
    keys = zip(*(whole[name].to_pylist() for name in kind.key), strict=True)
    files = [number for number, table in tables for _ in range(len(table))]
    for number, key, digest in zip(files, keys, catalog_row_digests(whole).tolist(), strict=True):
        digests[number][key] = digests[number].get(key, 0) + digest


def _tables(store: CatalogStore, content: Content, kind: Kind) -> Iterator[pa.Table]:
    """All rows of a file with exactly our columns."""
    schema = arrow_schema(kind.columns())
    try:
        with store.open(content.file) as opened:
            for batch in parquet_file(opened).iter_batches(batch_size=PROOF_BATCH_ROWS):
                yield with_our_columns(pa.table(batch), schema)
    except (pa.ArrowException, OSError) as error:
        problem = f"cannot be read again ({error}): nothing was removed"
        raise CommitError("commit-failed", str(content.file), problem) from error


def with_our_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same rows with exactly these columns; those of later versions are NULL."""
    if table.schema.equals(schema):
        return table.replace_schema_metadata(None)
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.schema.names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
