"""Query a catalog: its views, without its damaged files, in SQL that only reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from catalog.files import ATTEMPTS, ROWS, TOKENS, File
from catalog.read.connection import connect_catalog
from catalog.read.duckdb_errors import first_line, is_about_a_file, is_missing_column, plain_text
from catalog.read.heavy_files import FIRST_MB, heavy_files
from catalog.read.macros import MACROS, named_in
from catalog.read.read_only import refuse_writes
from catalog.read.table_files import has_all_columns, with_rows
from catalog.read.view_columns import view_columns
from catalog.read.views import stubs, view_bodies
from catalog.store.local import LocalFolder
from catalog.store.open import CatalogStore
from catalog.tables.damage import examine
from catalog.tables.inspection import LeftOut, inspect, unnamed
from survey.errors import UsageError
from survey.records.results import RESULTS

if TYPE_CHECKING:
    import pyarrow as pa

_WHEN_NAMED = (TOKENS, *RESULTS)  # folders that are listed only if a statement names their view
_ATTEMPTS = 3  # to read a catalog that changes meanwhile


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a query: column names, their SQL types, and rows. truncated: there are more rows."""

    names: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Limits of one query: memory of DuckDB, and rows of the answer."""

    memory_mb: int
    rows: int


class Reader:
    """An open catalog. left_out: the files that no answer includes, with the reason of each.

    Each statement sees every committed row once, whatever runs and compactions do meanwhile.
    """

    def __init__(self, store: CatalogStore, limits: QueryLimits | None = None) -> None:
        """Raises UsageError if the catalog cannot be read."""
        self._store = store
        self._limits = limits
        self._memory_mb: int | None = FIRST_MB if limits is None else limits.memory_mb
        self.left_out: list[LeftOut] = []
        with self._store.duckdb_files.reading():
            self._connect()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        with self._store.duckdb_files.stops.heard():  # closing releases files
            self._connection.close()
            del self._connection  # its temporary folder goes with it

    @property
    def damaged(self) -> list[File]:
        """The files left out that are ours and broken."""
        return [item.file for item in self.left_out if item.fate == "damaged"]

    def ask(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Run one statement that only reads.

        Raises UsageError if it does not parse, would write, fails, or exceeds the limit of memory. An answer
        with more rows than the limits allow is truncated, and says so.
        """
        self._refuse_writes(sql)
        return self._ask_views(sql, lambda: self._answer(sql, parameters or {}))

    def ask_parquet(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """The same answer as a Parquet file, with its types kept.

        Raises UsageError also if it has more rows than the limits allow.
        """
        self._refuse_writes(sql)
        return self._ask_views(sql, lambda: self._parquet(sql, parameters or {}))

    def rows(self, keys: Sequence[tuple[str, str, str]]) -> pa.Table:
        """The nested rows of these keys (repo, sha, matrix), as they are stored."""
        sql = "from measured_rows where list_contains($keys, concat_ws(chr(0), repo, sha, matrix))"
        parameters = {"keys": ["\0".join(key) for key in keys]}
        return self._ask_views(sql, lambda: self._connection.sql(sql, params=parameters).to_arrow_table())

    def token_files(self) -> set[str]:
        """Names of the files of per-token tables that can be read."""
        return {file.name for file in self._with_retries(lambda: self._sound(TOKENS))}

    def _refuse_writes(self, sql: str) -> None:
        with self._store.duckdb_files.reading():
            refuse_writes(self._connection, sql)

    def _ask_views(self, sql: str, ask: Callable[[], _T]) -> _T:
        """Open the views that the statement names, then ask."""

        def open_and_ask() -> _T:
            self._open(_named(sql))
            return ask()

        return self._with_retries(open_and_ask)

    def _with_retries(self, ask: Callable[[], _T]) -> _T:
        """Ask; if a file vanished or cannot be read, list the catalog again and ask again."""
        try:
            with self._store.duckdb_files.reading():
                for attempt in range(_ATTEMPTS):
                    try:
                        return ask()
                    except duckdb.Error as error:
                        self._store.duckdb_files.stops.refuse(error)
                        self._store.duckdb_files.refuse_failures()
                        if not self._recover(error, last=attempt == _ATTEMPTS - 1):
                            raise
                return ask()
        except duckdb.Error as error:
            raise UsageError(plain_text(error)) from error
        except MemoryError as error:
            raise UsageError("the answer takes more memory than there is: ask for less") from error

    def _recover(self, error: duckdb.Error, *, last: bool) -> bool:
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
            return False
        if self._has_new_files():
            return True
        still_listed = {file.path for files in self._files.values() for file in files}
        broken = self._broken(suspects, error, last=last)
        self._leave_out(broken)
        # If no file is broken, reading itself failed, or a file vanished.
        return bool(broken) or not last or any(file.path not in still_listed for file in suspects)

    def _answer(self, sql: str, parameters: Mapping[str, Any]) -> Answer:
        result = self._connection.execute(sql, dict(parameters))
        described = result.description or []
        rows = result.fetchmany(self._limits.rows + 1) if self._limits else result.fetchall()
        return Answer(
            [str(column[0]) for column in described],
            [str(column[1]) for column in described],
            rows[: self._limits.rows] if self._limits else rows,
            truncated=self._limits is not None and len(rows) > self._limits.rows,
        )

    def _parquet(self, sql: str, parameters: Mapping[str, Any]) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        out, rows = pa.BufferOutputStream(), 0
        batches = self._connection.sql(sql, params=dict(parameters)).to_arrow_reader(1 << 16)
        try:
            with pq.ParquetWriter(out, batches.schema) as writer:
                for batch in batches:
                    rows += batch.num_rows
                    if self._limits is not None and rows > self._limits.rows:
                        raise UsageError(f"the answer has more than {self._limits.rows:,} rows: add a LIMIT")
                    writer.write_batch(batch)
        except (pa.ArrowException, OSError) as error:  # an error of DuckDB while its rows are fetched
            self._store.duckdb_files.stops.refuse()
            self._store.duckdb_files.refuse_failures()
            raise UsageError(f"the answer cannot be made: {error}") from error
        return bytes(out.getvalue())

    def _connect(self) -> None:
        self._connection = connect_catalog(self._store, self._memory_mb, spills=self._limits is None)
        self._opened: set[str] = set()
        self._files = {folder: self._sound(folder) for folder in (ROWS, ATTEMPTS)}
        self._compare()
        for name, body in stubs().items():
            self._connection.execute(f"create view {name} as {body}")
        for name, body in MACROS.items():
            self._connection.execute(f"create macro {name}{body}")

    def _open(self, names: Sequence[str]) -> None:
        """Make these views over the files that exist now."""
        if folders := [name for name in names if name in _WHEN_NAMED and name not in self._files]:
            self._files |= {folder: self._sound(folder) for folder in folders}
            self._compare()
        new = [name for name in names if name not in self._opened]
        for name, body in view_bodies(new, self._files, alike=self._alike).items():
            self._connection.execute(f"create or replace view {name} as {body}")
            self._opened.add(name)

    def _compare(self) -> None:
        self._alike = {
            folder: has_all_columns(self._connection, files) for folder, files in self._files.items()
        }
        self._store.duckdb_files.stops.refuse()
        self._store.duckdb_files.failures.clear()  # they concern no answer

    def _sound(self, folder: str) -> list[File]:
        """The files of a folder that can be read; all others are noted in `left_out`."""
        for _ in range(_ATTEMPTS):
            known = {item.file.path for item in self.left_out}
            files = [file for file in self._store.files(folder) if file.path not in known]
            self.left_out += unnamed(files)
            files = [file for file in files if file.is_named_by_us]
            if folder == TOKENS:
                files = with_rows(self._connection, self._files[ROWS], files)
            inspected = inspect(self._store, files)
            self.left_out += inspected.left_out
            if not inspected.gone:
                break
        return inspected.sound

    def _suspects(self, error: duckdb.Error) -> list[File]:
        """The files that may have caused an error: those that it names, else all."""
        files = [file for files in self._files.values() for file in files]
        if isinstance(error, duckdb.PermissionException):
            return []  # a statement that reads what it may not read
        named = [file for file in files if file.url in str(error)]
        return named or (files if is_about_a_file(error) else [])

    def _recover_memory(self) -> bool:
        """Leave out the files that unpack to more memory than any of ours takes; if none does, take more."""
        self._connection.close()  # its memory is needed now
        files = [file for files in self._files.values() for file in files]
        heavy = [
            LeftOut(file, "unreadable", f"it takes more than {most:,} MB of memory; no file of ours does")
            for file, most in heavy_files(self._store, files)
        ]
        had_all = self._limits is not None or self._memory_mb is None
        if not heavy:
            self._memory_mb = self._limits.memory_mb if self._limits else None
        self.left_out += heavy
        self._connect()
        return bool(heavy) or not had_all

    def _has_new_files(self) -> bool:
        """Open the catalog again; True if it has files that it did not have before."""
        before = self._files
        self._connection.close()
        self._connect()
        self._files |= {folder: self._sound(folder) for folder in before if folder in _WHEN_NAMED}
        return any(set(files) - set(self._files[folder]) for folder, files in before.items())

    def _broken(self, suspects: Sequence[File], error: duckdb.Error, *, last: bool) -> list[LeftOut]:
        """The broken ones among the suspects, by a second opinion on each."""
        broken: list[LeftOut] = []
        for file in suspects:
            opinion = examine(self._store, file)
            if opinion.fate in ("damaged", "foreign", "unreadable"):
                broken.append(LeftOut(file, opinion.fate, opinion.problem))
            elif last and len(suspects) == 1 and isinstance(self._store, LocalFolder):
                broken.append(LeftOut(file, "unreadable", f"DuckDB cannot read it: {first_line(error)}"))
        return broken

    def _leave_out(self, broken: Sequence[LeftOut]) -> None:
        self.left_out += broken
        paths = {item.file.path for item in broken}
        self._files = {
            folder: [file for file in files if file.path not in paths]
            for folder, files in self._files.items()
        }
        self._compare()


def _named(sql: str) -> list[str]:
    """The views that a statement may read, by their names in its text."""
    text = " ".join([sql, *named_in(sql)]).lower()
    views = [*view_columns()]
    names = [name for name in views if name in text]
    if "models" in names:  # or models_history, whose name contains it: both read attempts
        names.append(ATTEMPTS)
    rows = "measured_rows" in text or set(names) - {ATTEMPTS, *_WHEN_NAMED}
    return [*names, "measured_rows"] if rows else names
