"""Files of a few kilobytes that unpack to gigabytes: found only after an answer ran out of memory.

No footer tells them: a page may state another size than its column, and a dictionary of one long text may
stand for millions. So each file is unpacked by itself, in a bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from catalog.files import File
from catalog.read.connection import connect_catalog
from catalog.read.table_files import TableFiles, listed
from catalog.store.open import CatalogStore

MAX_UNPACKED_MB = 1024  # a part has 256 MB, and a little more in DuckDB's memory


def heavy_files(store: CatalogStore, files: Sequence[File]) -> list[File]:
    """The files that take more than MAX_UNPACKED_MB of memory."""
    return [file for file in files if _is_heavy(store, file)]


def _is_heavy(store: CatalogStore, file: File) -> bool:
    connection = connect_catalog(store, MAX_UNPACKED_MB)
    try:
        connection.execute(f"create temp table unpacked as select * from {listed(TableFiles([file]))}")
    except duckdb.OutOfMemoryException:
        return True
    except duckdb.Error as error:  # another problem, which says nothing about memory
        store.duckdb_files.stops.refuse(error)
    finally:
        connection.close()
    return False
