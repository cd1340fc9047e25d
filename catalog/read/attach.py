"""A DuckDB file with views over a catalog's files, for any DuckDB client.

The views name the files by patterns, so they include the rows of later runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import duckdb

from catalog.files import ENDING, FOLDERS, PART, TOKENS, File
from catalog.read.macros import MACROS
from catalog.read.view_columns import view_columns
from catalog.read.views import view_bodies
from catalog.store.local import LocalFolder
from catalog.store.open import CatalogStore
from catalog.tables.inspection import LeftOut, inspect, without_columns
from survey.errors import UsageError, storable
from survey.process.atomic_write import replacement
from survey.process.output_path import check_output_path

# A file of another kind, such as SQLite's, would have DuckDB fetch a program that reads it.
_NO_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
# Our names end in three hexadecimal digits, so most foreign files are not even opened; none is hidden.
_PATTERN = f"[!.]*{3 * '[0-9a-f]'}{ENDING}"
_KEY = "(repo, sha, matrix)"


def attach(store: CatalogStore, path: Path) -> list[str]:
    """Write the views over a catalog into a DuckDB file. Returns the folders that are still empty.

    The view of an empty folder has no rows until it is attached again. Raises UsageError if the file cannot
    be written, or if it holds anything but our views.
    """
    check_output_path(path)
    path = path.absolute()  # to DuckDB md:x and s3://x are no files
    _refuse_odd_path("the file", str(path))
    if isinstance(store, LocalFolder):
        _refuse_odd_path("the catalog", str(store.root))
    _refuse_other_things(path)
    listed = {folder: store.files(folder) for folder in FOLDERS}
    _refuse_other_files(store, listed.values())
    empty = [folder for folder in FOLDERS if not any(file.is_named_by_us for file in listed[folder])]
    files = {folder: [_all_files(store, folder)] for folder in FOLDERS if folder not in empty}
    bodies = view_bodies(["measured_rows", *view_columns()], files, alike={}, outside=True)
    if TOKENS not in empty:  # a table without its row is the orphan of a crash
        bodies[TOKENS] = f"from ({bodies[TOKENS]}) where {_KEY} in (select {_KEY} from measured_rows)"
    try:
        with (
            replacement(path) as temporary,
            duckdb.connect(str(temporary), config=_NO_EXTENSIONS) as connection,
        ):
            if not isinstance(store, LocalFolder):
                connection.register_filesystem(store.fs)
            for name, body in bodies.items():
                connection.execute(f"create view {name} as {body}")
            for name, body in MACROS.items():
                connection.execute(f"create macro {name}{body}")
            _comment(connection)
    except (duckdb.Error, OSError) as error:
        raise UsageError(f"{path}: cannot be written: {error}") from error
    return empty


def _refuse_other_files(store: CatalogStore, listed: Iterable[Sequence[File]]) -> None:
    """Raise UsageError for files that count for no reader of ours: other clients inspect none.
    They would stop at a broken file, and count a foreign one of our name. DuckDB opens here, too, whatever
    the pattern matches.
    """
    left_out: list[LeftOut] = []
    for files in listed:
        opened = [file for file in files if fnmatchcase(file.name, _PATTERN)]
        left_out += inspect(store, [file for file in opened if file.is_named_by_us]).left_out
        left_out += without_columns(store, [file for file in opened if not file.is_named_by_us])
    if left_out:
        more = f" ({len(left_out) - 1} more files like it)" if len(left_out) > 1 else ""
        problem = "any other client would stop at it, or count it; move it out of the catalog, then attach"
        raise UsageError(f"{left_out[0].file}: {left_out[0].problem}{more}; {problem}")


def _opened(path: Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(path), read_only=read_only, config=_NO_EXTENSIONS)


def _refuse_odd_path(what: str, path: str) -> None:
    """Raise UsageError for a path that DuckDB cannot open, or reads as another.

    It takes each backslash for a slash: it would write, and look for files, in another folder.
    """
    if storable(path) != path:
        raise UsageError(f"{path}: DuckDB opens no path that is not UTF-8; name {what} by another")
    if os.sep != "\\" and "\\" in path:
        raise UsageError(f"{path}: DuckDB takes a backslash for a slash; name {what} by a path without one")


def _all_files(store: CatalogStore, folder: str) -> File:
    root = str(store.root) if isinstance(store, LocalFolder) else store.url
    # Named as a part, so that runs which stand in a part and in their own file are shown once.
    return File(folder, f"{PART}*", f"{_literally(root)}/{folder}/{_PATTERN}", root)


def _literally(root: str) -> str:
    """A folder's name as a pattern that matches only itself."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in root)


def _comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the data dictionary as comments on columns, which clients show."""
    for view, columns in view_columns().items():
        for column in columns:
            meaning = f"{column.meaning} ({column.unit})" if column.unit else column.meaning
            quoted = meaning.replace("'", "''")
            connection.execute(f"comment on column {view}.{column.name} is '{quoted}'")


def _refuse_other_things(path: Path) -> None:
    if not path.exists():
        return
    try:
        with _opened(path, read_only=True) as connection:
            tables = connection.execute("select table_name from duckdb_tables()").fetchall()
            views = connection.execute("select view_name from duckdb_views() where not internal").fetchall()
    except duckdb.Error as error:
        raise UsageError(f"{path} is there and no DuckDB file: name another ({error})") from error
    if tables or not {name for (name,) in views} <= {"measured_rows", *view_columns()}:
        raise UsageError(f"{path} holds more than a catalog's views: name another file")
