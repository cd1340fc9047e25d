"""Write merged rows into parts: files of some thousand rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.files import ENDING, PART
from catalog.store.open import CatalogStore
from catalog.tables.versions import part_schema
from catalog.write.contents import Kind

PART_BYTES = 256 << 20  # in memory, before compression
GROUP_BYTES = 48 << 20


@dataclass(slots=True)
class Written:
    """The number of parts, and of the rows in them."""

    parts: int = 0
    rows: int = 0


def write_parts(store: CatalogStore, kind: Kind, tables: Iterator[pa.Table], began: str) -> Written:
    """Publish tables of exactly the columns of a kind as parts. began: the time in the parts' names.

    Raises CommitError.
    """
    feed, written = _Feed(tables), Written()
    while feed.head is not None:
        name = f"{PART}{began}-{written.parts:03d}{ENDING}"
        store.publish(kind.folder, name, lambda opened: _write_part(opened, feed, kind, written), large=True)
        written.parts += 1
    return written


class _Feed:
    """A queue of tables. head: the next one, or None."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self.head: pa.Table | None = next(tables, None)

    def take(self) -> pa.Table:
        taken, self.head = self.head, next(self._tables, None)
        return taken


def _write_part(opened: IO[bytes], feed: _Feed, kind: Kind, written: Written) -> None:
    """Write tables until the part is full."""
    rows = size = 0
    schema = part_schema(kind.folder)
    with pq.ParquetWriter(opened, schema, compression="zstd", write_page_checksum=True) as writer:
        while feed.head is not None and rows < kind.part_rows and size < PART_BYTES:
            table = _group(feed, kind.part_rows if kind.whole_files else kind.group_rows)
            rows, size = rows + len(table), size + table.nbytes
            if kind.part_order:
                table = table.sort_by([(name, "ascending") for name in kind.part_order])
            writer.write_table(table.select(schema.names), row_group_size=kind.group_rows)
    written.rows += rows


def _group(feed: _Feed, max_rows: int) -> pa.Table:
    """The next row group."""
    tables: list[pa.Table] = []
    rows = size = 0
    while feed.head is not None and rows < max_rows and size < GROUP_BYTES:
        table = feed.take()
        tables.append(table)
        if len(tables) == 64:  # 1,000 tables of one row and 110 columns take more memory than their content
            tables = [pa.concat_tables(tables).combine_chunks()]
        rows, size = rows + len(table), size + table.nbytes
    return pa.concat_tables(tables)
