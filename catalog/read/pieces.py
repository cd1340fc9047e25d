"""Rows of an answer in pieces, so that an answer of any length can be written in constant memory.

DuckDB's binding makes Python objects of rows and does not notice if one of them could not be made: the
process crashes later. So before each piece it is checked that memory is left for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from survey.errors import UsageError
from survey.process.memory_limit import spare_memory

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1 << 11  # that Arrow makes at once, as many as DuckDB has at once
_GROUP_ROWS, _GROUP_BYTES = 1 << 16, 1 << 25  # of a row group
_ROWS = 256  # of a piece: 25,000 objects of 100 columns
_NESTED_ROWS = 16  # a list may have 100,000 elements itself


@dataclass(frozen=True, slots=True)
class Pieces:
    """An answer whose rows come in pieces, once: column names, their SQL types, and lists of rows."""

    names: Sequence[str]
    types: Sequence[str]
    rows: Iterator[Sequence[tuple[Any, ...]]]


def in_pieces(result: duckdb.DuckDBPyConnection) -> Pieces:
    """What a connection has executed. Iterating its rows raises MemoryError short of the end of memory."""
    described = result.description or []
    types = [str(column[1]) for column in described]
    nested = any(kind.endswith("]") or "(" in kind.removeprefix("DECIMAL(") for kind in types)
    return Pieces(
        [str(column[0]) for column in described], types, _rows(result, _NESTED_ROWS if nested else _ROWS)
    )


def _rows(result: duckdb.DuckDBPyConnection, count: int) -> Iterator[list[tuple[Any, ...]]]:
    refuse_little_memory = spare_memory()
    while piece := _fetched(result, count):
        yield piece
        if len(piece) == count:  # a few rows need no more than what is there
            refuse_little_memory()


def _fetched(result: duckdb.DuckDBPyConnection, count: int) -> list[tuple[Any, ...]]:
    try:
        return result.fetchmany(count)
    except (OverflowError, ValueError) as error:  # of Python: it has no interval of a million years
        raise UsageError(f"a value is beyond Python's types: {error}; cast it to VARCHAR") from error


def row_groups(batches: pa.RecordBatchReader, most: int | None) -> Iterator[pa.Table]:
    """The rows of a reader as the row groups of a file. Raises UsageError if there are more than `most`."""
    import pyarrow as pa

    rows, group = 0, list[pa.RecordBatch]()
    for batch in batches:
        rows += batch.num_rows
        if most is not None and rows > most:
            raise UsageError(f"the answer has more than {most:,} rows: add a LIMIT")
        group.append(batch)
        if sum(b.num_rows for b in group) >= _GROUP_ROWS or sum(b.nbytes for b in group) >= _GROUP_BYTES:
            yield pa.Table.from_batches(group)
            group.clear()
    if group:
        yield pa.Table.from_batches(group)
