"""Ask a catalog: views, damaged files set aside, and SQL that can only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from catalog.place import ATTEMPTS, ROWS, TOKENS, Place
from catalog.schema import attempt_columns, row_columns, token_columns
from catalog.views import connect, is_readable
from survey.errors import UsageError

# PIVOT is read as several statements of which the last answers; it writes no file.
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI)


@dataclass(frozen=True, slots=True)
class Answer:
    """A result: column names, their SQL types, and rows."""

    names: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]


class Reader:
    """An open catalog. `damaged` names the files that no answer includes."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection, self.damaged = connect(place)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Run one statement that reads.

        Raises UsageError where it does not parse, would write, or fails.
        """
        _check(sql)
        try:
            return self._run(sql, parameters)
        except (
            duckdb.IOException,
            duckdb.InvalidInputException,
            duckdb.ConversionException,
        ) as error:
            if not self._set_broken_aside():
                raise UsageError(_first_lines(error)) from error
        except duckdb.Error as error:
            raise UsageError(_first_lines(error)) from error
        return self.ask(sql, parameters)

    def _run(self, sql: str, parameters: Mapping[str, Any] | None) -> Answer:
        result = self._connection.execute(sql, dict(parameters or {}))
        described = result.description or []
        return Answer(
            [str(column[0]) for column in described],
            [str(column[1]) for column in described],
            result.fetchall(),
        )

    def _set_broken_aside(self) -> bool:
        """Read every file by itself and leave out those that cannot be; whether any was found."""
        columns = {ROWS: row_columns(), TOKENS: token_columns(), ATTEMPTS: attempt_columns()}
        broken: list[Path] = [
            path
            for folder, expected in columns.items()
            for path in self._place.files(folder)
            if path not in self.damaged and not is_readable(path, expected)
        ]
        if not broken:
            return False
        self._connection.close()
        self._connection, cut = connect(self._place, without=[*self.damaged, *broken])
        self.damaged = [*self.damaged, *broken, *(path for path in cut if path not in self.damaged)]
        return True


def _check(sql: str) -> None:
    try:
        statements = duckdb.connect().extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(_first_lines(error)) from error
    if len(statements) != 1:
        raise UsageError(f"expected one SQL statement, found {len(statements)}")
    if statements[0].type not in _READING:
        raise UsageError(f"{statements[0].type.name} is not allowed: a catalog is only read; write a SELECT")


def _first_lines(error: Exception) -> str:
    return str(error).strip()
