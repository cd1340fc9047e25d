"""The schemas of all tables, derived from the records: one source for Parquet, SQL and the docs.

A column is a field of a record in `survey/records/`, whose `__init__.py` says which columns are in which
module.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from survey.records.catalog_rows import ROW_GROUPS, Attempt, TokenRow
from survey.records.column_field import Float32, TokenId, UInt64, Vector, columns_of
from survey.records.measured_columns import BlackHole, UndertrainedPopulation
from survey.records.results import RESULTS, Direction

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name, SQL type, unit and meaning."""

    name: str
    sql_type: str
    unit: str
    meaning: str


RESULT_KEY = "result_key"
_SCALARS: dict[Any, str] = {
    str: "VARCHAR",
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    datetime: "TIMESTAMP",  # UTC without a time zone, for which DuckDB would need one more package
    TokenId: "INTEGER",
    Float32: "FLOAT",
    UInt64: "UBIGINT",
    Vector: "FLOAT[]",
}


@cache
def row_columns() -> tuple[Column, ...]:
    """Columns of a row file, which has one nested row for each repo × sha × matrix."""
    return _columns(*ROW_GROUPS)


@cache
def token_columns() -> tuple[Column, ...]:
    """Columns of a tokens file."""
    return _columns(TokenRow)


@cache
def attempt_columns() -> tuple[Column, ...]:
    """Columns of an attempts file."""
    return _columns(Attempt)


@cache
def result_columns(kind: str) -> tuple[Column, ...]:
    """Columns of a view of single results. kind: a key of `survey.records.results.RESULTS`."""
    return _columns(RESULTS[kind])


@cache
def stored_result_columns(kind: str) -> tuple[Column, ...]:
    """Columns of the files of single results: those of the view, after the key of the result."""
    key = Column(RESULT_KEY, "VARCHAR", "", "the same for results of the same inputs; the newest is shown")
    return (key, *result_columns(kind))


@cache
def hole_columns() -> tuple[Column, ...]:
    """Fields of the structs in the column `black_holes`."""
    return _columns(BlackHole)


@cache
def direction_columns() -> tuple[Column, ...]:
    """Fields of the structs in the column `directions` of `spectra`."""
    return _columns(Direction)


@cache
def population_columns() -> tuple[Column, ...]:
    """Fields of the struct in `undertrained_populations`."""
    return _columns(UndertrainedPopulation)


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow schema of these columns."""
    import pyarrow as pa

    return pa.schema([(column.name, arrow_type(column.sql_type)) for column in columns])


def _columns(*records: type[Any]) -> tuple[Column, ...]:
    hints = {name: hint for record in records for name, hint in typing.get_type_hints(record).items()}
    return tuple(
        Column(
            field.name,
            _sql_type(hints[field.name]),
            field.metadata["unit"],
            field.metadata["meaning"],
        )
        for field in columns_of(*records)
    )


def _sql_type(hint: Any) -> str:
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):  # only `X | None` occurs
        (inner,) = [arg for arg in args if arg is not type(None)]
        return _sql_type(inner)
    if origin is typing.Literal:
        return "VARCHAR"
    if origin is tuple and args[0] in _STRUCTS:
        return _struct_type(_STRUCTS[args[0]]())
    if origin is tuple:
        return f"{_sql_type(args[0])}[]"
    if origin is Mapping:
        return f"MAP({_sql_type(args[0])}, {_sql_type(args[1])})"
    raise TypeError(f"no column type for {hint}")


def _struct_type(columns: tuple[Column, ...]) -> str:
    fields = ", ".join(f"{column.name} {column.sql_type}" for column in columns)
    return f"STRUCT({fields})[]"


# Records that are lists of structs in a row.
_STRUCTS: Mapping[Any, Callable[[], tuple[Column, ...]]] = {
    BlackHole: hole_columns,
    UndertrainedPopulation: population_columns,
    Direction: direction_columns,
}


def arrow_type(sql_type: str) -> pa.DataType:
    """The Arrow type of a column's SQL type. sql_type: one that `Column` has."""
    import pyarrow as pa

    scalars = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMP": pa.timestamp("us"),
        "INTEGER": pa.int32(),
        "UBIGINT": pa.uint64(),
        "FLOAT": pa.float32(),
        "MAP(VARCHAR, BIGINT)": pa.map_(pa.string(), pa.int64()),
    }
    if sql_type in scalars:
        return scalars[sql_type]
    for columns in _STRUCTS.values():
        if sql_type == _struct_type(columns()):
            fields = [(column.name, arrow_type(column.sql_type)) for column in columns()]
            return pa.list_(pa.struct(fields))
    return pa.list_(arrow_type(sql_type.removesuffix("[]")))
