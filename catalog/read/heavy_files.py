"""Files of a few kilobytes that unpack to gigabytes: found only after an answer ran out of memory.

No footer tells them: a page may state another size than its column, and a dictionary of one long text may
stand for millions. So each file is unpacked by itself, in a bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import duckdb

from catalog.files import TOKENS, File, is_part
from catalog.read.connection import connect_catalog, half_of_memory_mb
from catalog.read.table_files import TableFiles, listed
from catalog.store.open import CatalogStore

# The memory of an answer at first: who asks for more has the files examined, unless none is heavy.
FIRST_MB = 4096
MAX_MANY_ROWS_MB = 1024  # a part has 256 MB, and a little more in DuckDB's memory
MAX_RESULT_MB = 256  # a row has 1 MB, a run of 100,000 attempts 50


def heavy_files(
    store: CatalogStore, files: Sequence[File], answer_mb: int | None = None
) -> Iterator[tuple[File, int]]:
    """The files that take more memory than any of ours, each with the MB that it exceeds.

    answer_mb: of an answer, if it has a limit; a file of many rows that does not fit would stop all of them.
    """
    many = [file for file in files if _has_many_rows(file)]
    few = [file for file in files if not _has_many_rows(file)]
    for alike, most_mb, most_of_answer_mb in (
        (many, MAX_MANY_ROWS_MB, answer_mb or MAX_MANY_ROWS_MB),
        (few, MAX_RESULT_MB, MAX_RESULT_MB),
    ):
        # A process with less memory judges by what it has, if that holds every file of ours.
        half_mb = half_of_memory_mb()
        if half_mb >= most_mb // 2:
            limit_mb = min(most_mb, half_mb, max(most_of_answer_mb, most_mb // 2))
            yield from ((file, limit_mb) for file in _beyond(store, alike, limit_mb))


def _has_many_rows(file: File) -> bool:
    return is_part(file) or file.folder == TOKENS


def _beyond(store: CatalogStore, files: Iterable[File], most_mb: int) -> Iterator[File]:
    connection = None
    for file in files:
        connection = connection or connect_catalog(store, most_mb, spills=False)
        table = listed(TableFiles([file]))
        try:
            connection.execute(f"create or replace temp table unpacked as select * from {table}")
        except duckdb.OutOfMemoryException as error:
            connection.close()
            connection = None  # a new one: what this one still holds would count against the next file
            if "used)" in str(error):  # else the process has no memory, which says nothing about the file
                yield file
        except duckdb.Error as error:  # another problem, which says nothing about memory
            store.duckdb_files.stops.refuse(error)
    if connection is not None:
        connection.close()
