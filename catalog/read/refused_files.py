"""Files that DuckDB cannot open, although they are sound to another library: each is tried by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from catalog.files import File
from catalog.read.connection import connect_catalog
from catalog.read.duckdb_errors import first_line, is_about_a_file
from catalog.read.table_files import TableFiles, listed
from catalog.store.open import CatalogStore
from catalog.tables.inspection import LeftOut


def refused_files(store: CatalogStore, files: Sequence[File]) -> Iterator[LeftOut]:
    """The files at which DuckDB fails as it begins to read them, unless reading itself failed."""
    connection = connect_catalog(store)
    try:
        for file in files:
            try:
                connection.execute(f"from {listed(TableFiles([file]))} limit 1").fetchall()
            except duckdb.Error as error:
                store.duckdb_files.stops.refuse(error)
                store.duckdb_files.refuse_failures()
                if is_about_a_file(error):
                    yield LeftOut(file, "unreadable", f"DuckDB cannot read it: {first_line(error)}")
    finally:
        connection.close()
