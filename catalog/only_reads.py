"""Which SQL only reads: DuckDB's own kinds of statement, and its plan where a kind does not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import duckdb

from survey.errors import UsageError

# A PIVOT is several statements, of which the last answers; but so is COPY (PIVOT …) TO, which
# writes. What a statement does with its PIVOT is said by its first word.
_PIVOTING = re.compile(
    r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:pivot|from|select|with)\b", re.IGNORECASE | re.DOTALL
)
# `WITH x AS (COPY … TO …) SELECT …` counts as a SELECT, and so does running a serialized statement,
# which query('…') can name piece by piece. The plan of one SELECT tells, and making it runs nothing.
_MAY_WRITE = re.compile("copy|serialized|query", re.IGNORECASE)
_WRITES = ("COPY", "INSERT", "UPDATE", "DELETE", "MERGE", "JSON_EXECUTE_SERIALIZED")  # operators begin so


def refuse_writes(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> None:
    """Raises UsageError where it is not one statement, does not parse, or would do more than read."""
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise UsageError(f"expected one SQL statement, found {len(statements)}")
        kind, may_write = statements[0].type, _MAY_WRITE.search(sql) is not None
        if kind == duckdb.StatementType.SELECT:
            refused = _writing(connection, sql, parameters) if may_write else None
        elif kind == duckdb.StatementType.MULTI and _PIVOTING.match(sql) is not None:
            refused = "COPY or query() beside a PIVOT" if may_write else None
        else:
            refused = kind.name
    except duckdb.Error as error:
        raise UsageError(str(error).strip()) from error
    if refused:
        raise UsageError(f"{refused} is not allowed: a catalog is only read; write a SELECT")


def _writing(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> str | None:
    """The operator of a SELECT's plan that may write; None where there is none."""
    planned = connection.execute(f"EXPLAIN (FORMAT json)\n{sql}", dict(parameters)).fetchall()
    operators = [operator for _, plan in planned for operator in json.loads(plan)]
    while operators:
        operator = operators.pop()
        name = str(operator["name"]).strip()
        if name.startswith(_WRITES):
            return name
        operators += operator["children"]
    return None
