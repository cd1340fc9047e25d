"""Records to Arrow tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.schema import (
    arrow_schema,
    arrow_type,
    attempt_columns,
    result_columns,
    row_columns,
    token_columns,
)
from survey.errors import storable
from survey.records import Attempt, Identity, Measured, Measurement


@dataclass(frozen=True, slots=True)
class Tables:
    """A measured matrix as it crosses from a worker to the driver: about 2 MB."""

    row: pa.Table
    tokens: pa.Table | None


def tables_of(measured: Measured, *, tokens: bool) -> Tables:
    """The tables of one measured matrix; without the per-token one where it was declined."""
    per_token = tokens_table(measured.identity, measured.measurement) if tokens else None
    return Tables(row_table(measured), per_token)


def row_table(measured: Measured) -> pa.Table:
    """The nested row of one measured matrix."""
    values: dict[str, Any] = {}
    for group in (measured.identity, measured.measurement, measured.provenance):
        values |= {field.name: getattr(group, field.name) for field in dataclasses.fields(group)}
    values["black_holes"] = [dataclasses.asdict(hole) for hole in values["black_holes"]]
    values["measures"] = list(values["measures"].items())
    schema = arrow_schema(row_columns())
    return pa.table(
        {field.name: pa.array([_plain(values[field.name])], field.type) for field in schema},
        schema=schema,
    )


def tokens_table(identity: Identity, measurement: Measurement) -> pa.Table:
    """The per-token table of one measured matrix, [V] rows."""
    tokens = measurement.tokens
    rows = len(tokens.norm)
    columns = {
        "repo": _repeat(identity.repo, rows),
        "sha": _repeat(identity.sha, rows),
        "matrix": _repeat(identity.matrix, rows),
        "token_id": pa.array(np.arange(rows, dtype=np.int32)),
        "norm": pa.array(tokens.norm, from_pandas=True),  # NaN becomes NULL
        "row_hash": pa.array(tokens.row_hash),
        "black_hole": pa.array(tokens.black_hole, mask=tokens.black_hole == 0),
    }
    return pa.table(columns, schema=arrow_schema(token_columns()))


def attempts_table(attempts: Sequence[Attempt]) -> pa.Table:
    """What one run did, a row for each model and matrix."""
    return pa.Table.from_pylist(
        [
            {name: _plain(value) for name, value in dataclasses.asdict(attempt).items()}
            for attempt in attempts
        ],
        schema=arrow_schema(attempt_columns()),
    )


def result_table(kind: str, record: Any) -> pa.Table:  # Any: RESULTS[kind]
    """One single result as a row."""
    schema = arrow_schema(result_columns(kind))
    return pa.table(
        {field.name: pa.array([_plain(getattr(record, field.name))], field.type) for field in schema},
        schema=schema,
    )


def as_parquet(names: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A Parquet file of these columns. types: SQL types. rows: their values (therefore Any)."""
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in zip(names, types, strict=True)])
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    out = pa.BufferOutputStream()
    arrays = [pa.array(list(values), field.type) for values, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.table(arrays, schema=schema), out)
    return bytes(out.getvalue())


def _repeat(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), rows)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return [storable(text) for text in value]
    return value
