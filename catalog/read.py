"""Ask a catalog: views, damaged files set aside, and SQL that can only read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from catalog.place import ATTEMPTS, ROWS, TOKENS, Place
from catalog.schema import attempt_columns, row_columns, token_columns
from catalog.views import connect, is_readable
from survey.errors import UsageError

# PIVOT is read as several statements of which the last answers; it writes no file.
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI)


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer:
    """A result: column names, their SQL types, and rows."""

    names: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]


class Reader:
    """An open catalog. `damaged` names the files that no answer includes."""

    def __init__(self, place: Place) -> None:
        """Raises UsageError where the views cannot be made even without the damaged files."""
        self._place = place
        self.damaged: list[Path] = []
        try:
            self._connection = self._connect()
        except duckdb.Error as error:
            if not self._find_broken():
                raise UsageError(str(error).strip()) from error
            self._connection = self._connect()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Run one statement that reads.

        Raises UsageError where it does not parse, would write, or fails.
        """
        _check(sql)
        return self._asked(lambda: self._answer(sql, parameters or {}))

    def ask_parquet(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """The same answer as a Parquet file, with its types kept."""
        _check(sql)
        return self._asked(lambda: self._parquet(sql, parameters or {}))

    def _asked(self, ask: Callable[[], Result]) -> Result:
        """Ask; where a file turns out to be unreadable, leave it out and ask once more."""
        try:
            try:
                return ask()
            except duckdb.Error as error:
                if not (_is_about_a_file(error) and self._find_broken()):
                    raise
                self._connection.close()
                self._connection = self._connect()
                return ask()
        except duckdb.Error as error:
            raise UsageError(str(error).strip().removeprefix("Invalid Input Error: ")) from error

    def _answer(self, sql: str, parameters: Mapping[str, Any]) -> Answer:
        result = self._connection.execute(sql, dict(parameters))
        described = result.description or []
        return Answer(
            [str(column[0]) for column in described],
            [str(column[1]) for column in described],
            result.fetchall(),
        )

    def _parquet(self, sql: str, parameters: Mapping[str, Any]) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._connection.execute(sql, dict(parameters))
        out = pa.BufferOutputStream()
        pq.write_table(self._connection.to_arrow_table(), out)
        return bytes(out.getvalue())

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection, cut_short = connect(self._place, without=self.damaged)
        self.damaged += cut_short
        return connection

    def _find_broken(self) -> bool:
        """Read every file by itself and note those that cannot be; whether any was found."""
        columns = {ROWS: row_columns(), TOKENS: token_columns(), ATTEMPTS: attempt_columns()}
        broken = [
            path
            for folder, expected in columns.items()
            for path in self._place.files(folder)
            if path not in self.damaged and not is_readable(path, expected)
        ]
        self.damaged += broken
        return bool(broken)


def _is_about_a_file(error: duckdb.Error) -> bool:
    """Whether DuckDB complains of a file's content: with bare Errors, as seen on damaged copies."""
    return (
        type(error) is duckdb.Error
        or isinstance(error, duckdb.IOException)
        or "Failed to read file" in str(error)
    )


def _check(sql: str) -> None:
    try:
        statements = duckdb.connect().extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(str(error).strip()) from error
    if len(statements) != 1:
        raise UsageError(f"expected one SQL statement, found {len(statements)}")
    if statements[0].type not in _READING:
        raise UsageError(f"{statements[0].type.name} is not allowed: a catalog is only read; write a SELECT")
