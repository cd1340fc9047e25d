"""DuckDB connections to a catalog, which can read its files and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

import duckdb

from catalog.read.views import empty_bodies
from catalog.store.open import CatalogStore
from survey.process.machine import memory_bytes
from survey.process.owned_folders import temporary_folder

_PREFIX = "survey-query-"  # of folders to which queries spill


def connect_catalog(
    store: CatalogStore, memory_mb: int | None = None, *, spills: bool = True
) -> duckdb.DuckDBPyConnection:
    """A connection that can read the files of this catalog and nothing else.

    memory_mb: the memory limit of a query; at most, and by default, half of what this process may use.
    spills: a query that takes more goes on in a temporary folder of ours, up to half of its disk's room.
    """
    connection = duckdb.connect()
    store.attach(connection)
    store.duckdb_files.stops.interrupt(connection)
    return _restricted(connection, memory_mb, spills=spills)


def connect_without_files() -> duckdb.DuckDBPyConnection:
    """A connection that can read no file and has the views of an empty catalog."""
    connection = duckdb.connect()
    for name, body in empty_bodies().items():
        connection.execute(f"create view {name} as {body}")
    return _restricted(connection)


def half_of_memory_mb() -> int:
    """Half of the memory that this process may use."""
    return max(1, memory_bytes() >> 21)


def _restricted(
    connection: duckdb.DuckDBPyConnection, memory_mb: int | None = None, *, spills: bool = False
) -> duckdb.DuckDBPyConnection:
    most_mb = half_of_memory_mb()
    connection.execute(f"set memory_limit = '{min(memory_mb or most_mb, most_mb)}MiB'")
    folder, spilled_mb = _spill_folder(connection) if spills else (None, 0)
    # Files in the folder for temporary files can be read, too, so it is not .tmp of the working folder.
    temporary = str(folder or Path(gettempdir(), f"survey-{uuid4().hex}")).replace("'", "''")
    connection.execute(f"set temp_directory = '{temporary}'")
    connection.execute(f"set max_temp_directory_size = '{spilled_mb}MiB'")
    connection.execute("set enable_external_access = false")
    connection.execute("set enable_progress_bar = false")  # it goes to stdout, among the answer
    connection.execute("set python_enable_replacements = false")  # a table name means no variable of ours
    connection.execute("set enable_geoparquet_conversion = false")  # metadata of a file change no type
    # The view and the statement read each footer once; 1,000 loose files: 0.2 s less.
    connection.execute("set parquet_metadata_cache = true")
    connection.execute("set lock_configuration = true")
    return connection


def _spill_folder(connection: duckdb.DuckDBPyConnection) -> tuple[Path | None, int]:
    """A folder for a connection's temporary files, and the MB that may lie there; none on a full disk."""
    try:
        folder = temporary_folder(connection, _PREFIX)
        return folder / "spilled", shutil.disk_usage(folder).free >> 21
    except OSError:
        return None, 0
