"""Query a catalog: its views, without its damaged files, in SQL that only reads."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from catalog.files import ATTEMPTS, TOKENS, File
from catalog.read.duckdb_errors import plain_text
from catalog.read.macros import named_in
from catalog.read.open_catalog import ATTEMPTS_TO_READ, WHEN_NAMED, OpenCatalog
from catalog.read.pieces import BATCH_ROWS, Pieces, in_pieces, row_groups
from catalog.read.read_only import refuse_writes
from catalog.read.statement_text import names_in, token_table_keys
from catalog.read.table_files import KEY_COLUMNS
from catalog.read.view_columns import view_columns
from catalog.store.open import CatalogStore
from catalog.tables.inspection import LeftOut
from survey.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


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
    """An open catalog.

    Each statement sees every committed row once, whatever runs and compactions do meanwhile.
    """

    def __init__(self, store: CatalogStore, limits: QueryLimits | None = None) -> None:
        """Raises UsageError if the catalog cannot be read."""
        self._store = store
        self._limits = limits
        self._catalog = OpenCatalog(store, limits.memory_mb if limits else None)

    @property
    def left_out(self) -> list[LeftOut]:
        """The files that no answer includes, with the reason of each."""
        return self._catalog.left_out

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._catalog.close()

    @property
    def damaged(self) -> list[File]:
        """The files left out that are ours and broken."""
        return [item.file for item in self.left_out if item.fate == "damaged"]

    def ask(self, sql: str, parameters: Mapping[str, Any] | None = None, most: int | None = None) -> Answer:
        """Run one statement that only reads.

        Raises UsageError if it does not parse, would write, fails, or exceeds the limit of memory. An answer
        with more rows than the limits allow, or than `most`, is truncated, and says so.
        """
        most = most if self._limits is None else min(most or self._limits.rows, self._limits.rows)
        return self.ask_pieces(sql, parameters, lambda pieces: _answer(pieces, most))

    def ask_pieces(self, sql: str, parameters: Mapping[str, Any] | None, use: Callable[[Pieces], _T]) -> _T:
        """What `use` makes of the answer, which need not fit into memory. Raises UsageError as `ask`.

        use: called anew, from the first row, if the catalog has changed meanwhile. No limit of rows applies.
        """
        self._refuse_writes(sql)
        return self._ask_views(
            sql,
            parameters,
            lambda: use(in_pieces(self._catalog.connection.execute(sql, dict(parameters or {})))),
        )

    def ask_parquet(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """The same answer as a Parquet file, with its types kept.

        Raises UsageError also if it has more rows than the limits allow.
        """
        content = io.BytesIO()
        self.write_parquet(sql, parameters, content)
        return content.getvalue()

    def write_parquet(
        self, sql: str, parameters: Mapping[str, Any] | None, to: io.BytesIO | io.RawIOBase
    ) -> None:
        """Write the answer as a Parquet file, row group by row group. Raises UsageError as `ask_parquet`."""
        self._refuse_writes(sql)
        self._ask_views(sql, parameters, lambda: self._parquet(sql, parameters or {}, to))

    def rows(self, keys: Sequence[tuple[str, str, str]]) -> pa.Table:
        """The nested rows of these keys (repo, sha, matrix), as they are stored."""
        sql = "from measured_rows semi join each_key($repos, $shas, $matrices) using (repo, sha, matrix)"
        parameters = key_lists(keys)
        return self._ask_views(
            sql, None, lambda: self._catalog.connection.sql(sql, params=parameters).to_arrow_table()
        )

    def token_files(self) -> set[str]:
        """Names of the files of per-token tables that can be read."""
        return {file.name for file in self._with_retries(self._catalog.token_files)}

    def _refuse_writes(self, sql: str) -> None:
        with self._store.duckdb_files.reading():
            refuse_writes(self._catalog.connection, sql)
            if (keys := token_table_keys(sql)) is not None:
                refuse_writes(self._catalog.connection, keys)

    def _ask_views(self, sql: str, parameters: Mapping[str, Any] | None, ask: Callable[[], _T]) -> _T:
        """Open the views that the statement names, then ask."""

        def open_and_ask() -> _T:
            names = _named(sql)
            self._catalog.open_macros(named_in(sql))
            self._catalog.open_views(names, self._token_tables(sql, parameters or {}, names))
            return ask()

        return self._with_retries(open_and_ask)

    def _token_tables(
        self, sql: str, parameters: Mapping[str, Any], names: Sequence[str]
    ) -> list[tuple[str, str, str]] | None:
        """The keys of the rows whose per-token tables a statement says that it reads; None: any."""
        keys = token_table_keys(sql) if TOKENS in names else None
        if keys is None:
            return None
        self._catalog.open_macros(named_in(keys))
        self._catalog.open_views(_named(f"{keys} measured_rows"), None)
        used = duckdb.extract_statements(keys)[0].named_parameters
        return self._catalog.connection.execute(
            f"select distinct {KEY_COLUMNS} from ({keys}) semi join measured_rows using ({KEY_COLUMNS})",
            {name: value for name, value in parameters.items() if name in used},
        ).fetchall()

    def _with_retries(self, ask: Callable[[], _T]) -> _T:
        """Ask; if a file vanished or cannot be read, list the catalog again and ask again."""
        try:
            with self._store.duckdb_files.reading():
                for attempt in range(ATTEMPTS_TO_READ):
                    try:
                        return ask()
                    except duckdb.Error as error:
                        self._store.duckdb_files.stops.refuse(error)
                        self._store.duckdb_files.refuse_failures()
                        if not self._catalog.recover(error, last=attempt == ATTEMPTS_TO_READ - 1):
                            raise
                return ask()
        except duckdb.Error as error:
            raise UsageError(plain_text(error)) from error
        except MemoryError as error:
            raise UsageError("the answer takes more memory than there is: ask for less") from error

    def _parquet(self, sql: str, parameters: Mapping[str, Any], to: io.BytesIO | io.RawIOBase) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        to.seek(0)
        to.truncate()  # what an earlier try wrote
        batches = self._catalog.connection.sql(sql, params=dict(parameters)).to_arrow_reader(BATCH_ROWS)
        try:
            with pq.ParquetWriter(to, batches.schema) as writer:
                for table in row_groups(batches, self._limits.rows if self._limits else None):
                    writer.write_table(table)
        except MemoryError:  # Arrow's own is one of its exceptions, too
            raise
        except (pa.ArrowException, OSError) as error:  # an error of DuckDB while its rows are fetched
            self._store.duckdb_files.stops.refuse()
            self._store.duckdb_files.refuse_failures()
            problem = str(error).strip().partition("\n")[0]  # the rest are settings, which are locked
            raise UsageError(f"the answer cannot be made: {problem}") from error


def key_lists(keys: Sequence[tuple[str, str, str]]) -> dict[str, list[str]]:
    """The parameters of the macro `each_key`, for these repos, shas and matrices."""
    columns = zip(*keys, strict=True) if keys else ((), (), ())
    return dict(zip(("repos", "shas", "matrices"), map(list, columns), strict=True))


def _answer(pieces: Pieces, most: int | None) -> Answer:
    rows: list[tuple[Any, ...]] = []
    for piece in pieces.rows:
        rows += piece
        if most is not None and len(rows) > most:
            break
    truncated = most is not None and len(rows) > most
    return Answer(list(pieces.names), list(pieces.types), rows[:most], truncated)


def _named(sql: str) -> list[str]:
    """The views that a statement may read, by the words of its text: opening one takes time."""
    words = names_in(sql).union(*map(names_in, named_in(sql).values()))
    names = [name for name in view_columns() if name in words]
    if {"models", "models_history"} & words:  # both read attempts
        names.append(ATTEMPTS)
    rows = "measured_rows" in words or set(names) - {ATTEMPTS, *WHEN_NAMED}
    return [*names, "measured_rows"] if rows else names
