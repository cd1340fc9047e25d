"""The columns of a query's answer, without a catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from catalog.read.connection import connect_without_files
from catalog.read.macros import MACROS
from catalog.read.read_only import looks_for_columns, refuse_writes
from survey.errors import UsageError


class Describer:
    """Binds statements to the views of an empty catalog, and does not run them."""

    def __init__(self) -> None:
        self._connection = connect_without_files()
        for name, body in MACROS.items():
            self._connection.execute(f"create macro {name}{body}")

    def __enter__(self) -> Describer:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def columns(self, sql: str, parameters: Mapping[str, Any]) -> list[str]:
        """The names of the columns of a statement's answer.

        Raises UsageError if it is not one statement that only reads, or if it cannot be bound.
        """
        refuse_writes(self._connection, sql)
        if looks_for_columns(self._connection, sql):
            return ["one for each value that is found"]
        describing = f"describe {sql}"
        refuse_writes(self._connection, describing)
        try:
            return [row[0] for row in self._connection.execute(describing, dict(parameters)).fetchall()]
        except duckdb.Error as error:
            raise UsageError(str(error)) from error
