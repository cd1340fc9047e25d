"""The views of a catalog over the files that exist now, less those that cannot be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import duckdb

from catalog.files import ATTEMPTS, ENDING, ROWS, TOKENS, File, file_key
from catalog.read.connection import connect_catalog
from catalog.read.duckdb_errors import first_line, is_about_a_file, is_defect, is_missing_column
from catalog.read.heavy_files import FIRST_MB, heavy_files
from catalog.read.refused_files import refused_files
from catalog.read.table_files import has_all_columns, with_rows
from catalog.read.views import stubs, superseded_bodies, view_bodies
from catalog.store.local import LocalFolder
from catalog.store.open import CatalogStore
from catalog.tables.damage import examine
from catalog.tables.inspection import LeftOut, inspect, unnamed
from survey.records.results import RESULTS

WHEN_NAMED = (TOKENS, *RESULTS)  # folders that are listed only if a statement names their view
ATTEMPTS_TO_READ = 3  # a catalog that changes meanwhile


class OpenCatalog:
    """A connection with the views of a catalog. left_out: the files in no view, with the reason of each."""

    def __init__(self, store: CatalogStore, limit_mb: int | None) -> None:
        """limit_mb: of DuckDB's memory; None: all that there is, if need be. Raises UsageError."""
        self._store = store
        self._limit_mb = limit_mb
        self._memory_mb: int | None = FIRST_MB if limit_mb is None else limit_mb
        self.left_out: list[LeftOut] = []
        self._token_names: set[str] | None = None  # of the files that the view of tokens reads; None: all
        self._files: dict[str, list[File]] = {}  # by folder, those that views read
        with self._store.duckdb_files.reading():
            self._connect()

    def close(self) -> None:
        """Close the connection; its temporary folder goes with it."""
        with self._store.duckdb_files.stops.heard():  # closing releases files
            self.connection.close()
            del self.connection

    def reopen(self) -> None:
        """Replace the connection, and list the files that exist now."""
        self.connection.close()
        self._connect()

    def token_files(self) -> list[File]:
        """The files of per-token tables that can be read."""
        self._token_names = None
        return self._sound(TOKENS)

    def open_views(self, names: Sequence[str], token_tables: Collection[tuple[str, str, str]] | None) -> None:
        """Make these views over the files that exist now.

        token_tables: the keys of the rows whose per-token tables are read; None: those of all rows.
        """
        token_names = None if token_tables is None else {file_key(*key) + ENDING for key in token_tables}
        if TOKENS in names and token_names != self._token_names:
            self._token_names = token_names
            self._files.pop(TOKENS, None)
            self._opened.discard(TOKENS)
        if folders := [name for name in names if name in WHEN_NAMED and name not in self._files]:
            self._files |= {folder: self._sound(folder) for folder in folders}
            self._compare()
        self._make_views([name for name in names if name not in self._opened])

    def open_macros(self, bodies: Mapping[str, str]) -> None:
        """Make these macros: all of them would take a connection 20 ms and a megabyte."""
        for name, body in bodies.items():
            self.connection.execute(f"create or replace macro {name}{body}")

    def _make_views(self, new: Sequence[str]) -> None:
        for name, body in superseded_bodies(new, self._files, self._alike).items():
            self.connection.execute(f"create or replace temp table {name} as {body}")
            if self.connection.execute(f"from {name} limit 1").fetchall():
                self._superseded.add(name)
        for name, body in view_bodies(new, self._files, self._alike, self._superseded).items():
            self.connection.execute(f"create or replace view {name} as {body}")
            self._opened.add(name)

    def recover(self, error: duckdb.Error, *, last: bool) -> bool:
        """Prepare another try after an error; False if that would not help.

        There are three causes. A file lacks a column that the first one has. Files were replaced: compaction
        removes files whose rows stand in a part, and a run writes rows anew. Or a file is broken.
        """
        if is_missing_column(error) and any(self._alike.values()):
            self._alike.clear()
            self._opened.clear()
            return True
        if isinstance(error, duckdb.OutOfMemoryException):
            return self._recover_memory()
        suspects = self._suspects(error)
        if not suspects:
            if is_defect(error):  # this connection may answer nothing more
                self.reopen()
            return False
        if self._has_new_files():
            return True
        still_listed = {file.path for files in self._files.values() for file in files}
        broken = self._broken(suspects, error, last=last)
        self._leave_out(broken)
        # If no file is broken, reading itself failed, or a file vanished.
        return bool(broken) or not last or any(file.path not in still_listed for file in suspects)

    def _recover_memory(self) -> bool:
        """Leave out the files that unpack to more memory than any of ours takes; if none does, take more."""
        self.connection.close()  # its memory is needed now
        files = [file for files in self._files.values() for file in files]
        heavy = [
            LeftOut(file, "unreadable", f"it takes more than {most:,} MB of memory; no file of ours does")
            for file, most in heavy_files(self._store, files, self._limit_mb)
        ]
        had_all = self._limit_mb is not None or self._memory_mb is None
        if not heavy:
            self._memory_mb = self._limit_mb
        self.left_out += heavy
        self._connect()
        return bool(heavy) or not had_all

    def _has_new_files(self) -> bool:
        """Open the catalog again; True if it has files that it did not have before."""
        before = self._files
        self.reopen()
        self._files |= {folder: self._sound(folder) for folder in before if folder in WHEN_NAMED}
        return any(set(files) - set(self._files[folder]) for folder, files in before.items())

    def _suspects(self, error: duckdb.Error) -> list[File]:
        """The files that may have caused an error: those that it names, else all."""
        files = [file for files in self._files.values() for file in files]
        if isinstance(error, duckdb.PermissionException):
            return []  # a statement that reads what it may not read
        named = [file for file in files if file.url in str(error)]
        return named or (files if is_about_a_file(error) else [])

    def _broken(self, suspects: Sequence[File], error: duckdb.Error, *, last: bool) -> list[LeftOut]:
        """The broken ones among the suspects, by a second opinion on each."""
        broken: list[LeftOut] = []
        for file in suspects:
            opinion = examine(self._store, file)
            if opinion.fate in ("damaged", "foreign", "unreadable"):
                broken.append(LeftOut(file, opinion.fate, opinion.problem))
            elif last and len(suspects) == 1 and isinstance(self._store, LocalFolder):
                broken.append(LeftOut(file, "unreadable", f"DuckDB cannot read it: {first_line(error)}"))
        if last and len(suspects) > 1 and not broken:
            broken += refused_files(self._store, suspects)
        return broken

    def _leave_out(self, broken: Sequence[LeftOut]) -> None:
        self.left_out += broken
        paths = {item.file.path for item in broken}
        self._files = {
            folder: [file for file in files if file.path not in paths]
            for folder, files in self._files.items()
        }
        self._compare()

    def _connect(self) -> None:
        self.connection = connect_catalog(self._store, self._memory_mb, spills=self._limit_mb is None)
        self._opened: set[str] = set()
        self._superseded: set[str] = set()  # tables of rows that are not the newest of their key
        self._files = {folder: self._sound(folder) for folder in (ROWS, ATTEMPTS)}
        self._compare()
        for name, body in stubs().items():
            self.connection.execute(f"create view {name} as {body}")

    def _compare(self) -> None:
        self._alike = {
            folder: has_all_columns(self.connection, files) for folder, files in self._files.items()
        }
        self._store.duckdb_files.stops.refuse()
        self._store.duckdb_files.failures.clear()  # they concern no answer

    def _sound(self, folder: str) -> list[File]:
        """The files of a folder that can be read; all others are noted in `left_out`."""
        for _ in range(ATTEMPTS_TO_READ):
            known = {item.file.path for item in self.left_out}
            files = [file for file in self._listed(folder) if file.path not in known]
            self.left_out += unnamed(files)
            files = [file for file in files if file.is_named_by_us]
            if folder == TOKENS and self._token_names is None:
                files = with_rows(self.connection, self._files[ROWS], files)
            inspected = inspect(self._store, files)
            self.left_out += inspected.left_out
            if not inspected.gone:
                break
        return inspected.sound

    def _listed(self, folder: str) -> list[File]:
        if folder == TOKENS and self._token_names is not None:
            return self._store.files_named(TOKENS, self._token_names)
        return self._store.files(folder)
