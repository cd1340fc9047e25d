"""Records to Arrow tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from catalog.schema_of_records import (
    RESULT_KEY,
    arrow_schema,
    arrow_type,
    attempt_columns,
    row_columns,
    stored_result_columns,
    token_columns,
)
from catalog.write.class_overlaps import class_overlaps
from survey.errors import storable
from survey.process.clock import utc_now
from survey.records.catalog_rows import Attempt, Measured
from survey.records.column_field import values_of
from survey.records.measure_definition import TOKEN_TABLE, TOKENIZER, UNUSED_DISTANCES, Measure
from survey.records.measured_columns import Undertrained
from survey.records.tokenizer import TokenColumns, TokenizerSummary

# Columns of the per-token table that a tokenizer decides; of undertrained rows its names tell which count.
_OF_TOKENIZER = frozenset(
    ("text", "reach", "unreachable", "phantom", "is_special", "is_byte", "is_added", "undertrained")
) | {"unused_cosine", "unused_l2"}


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a measured matrix, as a worker sends them to the driver: about 2 MB."""

    row: pa.Table
    tokens: pa.Table | None

    def __reduce__(self) -> tuple[Any, ...]:
        """As Arrow's own bytes: Ray sends a table column by column, in Python, 8 ms of 40 for a model."""
        return _received, (_sent(self.row), None if self.tokens is None else _sent(self.tokens))


def _sent(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _received(row: pa.Buffer, tokens: pa.Buffer | None) -> Tables:
    return Tables(_table(row), None if tokens is None else _table(tokens))


def _table(sent: pa.Buffer) -> pa.Table:
    return pa.ipc.open_stream(sent).read_all()


def tables_of(measured: Measured, *, tokens: bool) -> Tables:
    """The tables of one measured matrix. tokens: with the per-token table."""
    per_token = tokens_table(measured) if tokens else None
    return Tables(row_table(measured, per_token), per_token)


def row_table(measured: Measured, tokens: pa.Table | None = None) -> pa.Table:
    """The nested row of one measured matrix. tokens: its per-token table; None if declined."""
    values = values_of(measured.identity, measured.measurement, measured.tokenizer, measured.provenance)
    values["measures"] = list(values["measures"].items())
    values["class_overlaps"] = None if tokens is None else class_overlaps(tokens)
    schema = arrow_schema(row_columns())
    return pa.table(
        {field.name: pa.array([plain(values[field.name])], field.type) for field in schema},
        schema=schema,
    )


def tokens_table(measured: Measured) -> pa.Table:
    """The per-token table of one measured matrix, [V] rows."""
    identity, tokens = measured.identity, measured.measurement.tokens
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
    if tokens.value_hash is not None:
        columns["value_hash"] = pa.array(tokens.value_hash, mask=tokens.value_hash == 0)
    if tokens.population is not None:
        columns["population"] = pa.array(tokens.population, mask=tokens.population == 0)
    distances = {
        name: pa.array(values.astype(np.float32), from_pandas=True)
        for name, values in measured.distances.items()
    }
    return _typed(
        columns | _flag_columns(measured.flags) | _tokenizer_columns(measured.token_columns) | distances, rows
    )


def with_tokenizer(
    tables: Tables,
    summary: TokenizerSummary,
    columns: TokenColumns | None,
    undertrained: Undertrained | None,
    flags: Mapping[str, NDArray[np.bool_]],
    measures: Mapping[str, int],
) -> Tables:
    """Stored tables with the columns of a tokenizer.

    undertrained: these columns, if the names change them. flags: [V] for each class of rows. measures: name
    -> version.
    """
    judged = {} if undertrained is None else values_of(undertrained)
    values = values_of(summary) | judged
    if tables.tokens is None:
        return Tables(renewed(tables.row, values, measures), None)
    stored = {name: tables.tokens[name] for name in tables.tokens.column_names}
    tokens = _typed(stored | _flag_columns(flags) | _tokenizer_columns(columns), len(tables.tokens))
    return Tables(renewed(tables.row, values | {"class_overlaps": class_overlaps(tokens)}, measures), tokens)


def without_tokens(tables: Tables) -> Tables:
    """Stored tables as a run makes them that declines the per-token table."""
    measures = _measures_without(tables.row, TOKEN_TABLE)
    return Tables(_with_columns(tables.row, {"measures": measures, "class_overlaps": None}), None)


def without_tokenizer_columns(tables: Tables) -> Tables:
    """Stored tables without the columns that a tokenizer decides, so that another one's can be added."""
    columns: dict[str, Any] = {field.name: None for field in dataclasses.fields(TokenizerSummary)}
    columns["measures"] = _measures_without(tables.row, TOKENIZER, UNUSED_DISTANCES)
    if tables.tokens is None:
        return Tables(_with_columns(tables.row, columns), None)
    kept = {name: tables.tokens[name] for name in tables.tokens.column_names if name not in _OF_TOKENIZER}
    tokens = _typed(kept, len(tables.tokens))
    return Tables(_with_columns(tables.row, columns | {"class_overlaps": class_overlaps(tokens)}), tokens)


def _measures_without(row: pa.Table, *measures: Measure) -> list[tuple[str, int]]:
    names = {measure.name for measure in measures}
    return [(name, version) for name, version in row["measures"][0].as_py() if name not in names]


def under_key(tables: Tables, columns: Mapping[str, Any]) -> Tables:
    """Stored tables as those of another matrix. columns: of its row, its key among them."""
    row = _with_columns(tables.row, columns)
    if tables.tokens is None:
        return Tables(row, None)
    stored = {name: tables.tokens[name] for name in tables.tokens.column_names}
    key = {name: _repeat(columns[name], len(tables.tokens)) for name in ("repo", "sha", "matrix")}
    return Tables(row, _typed(stored | key, len(tables.tokens)))


def renewed(row: pa.Table, columns: Mapping[str, Any], versions: Mapping[str, int]) -> pa.Table:
    """A stored row with these columns, made by these versions of measures.

    It is stamped with the current time, as the newest of two rows of a key is shown.
    """
    measures = list((dict(row["measures"][0].as_py() or []) | dict(versions)).items())
    return _with_columns(row, dict(columns) | {"measures": measures, "measured_at": utc_now()})


def _with_columns(row: pa.Table, new: Mapping[str, Any]) -> pa.Table:
    """A stored row with these columns instead of its own."""
    schema = arrow_schema(row_columns())
    values = {
        field.name: pa.array([plain(new[field.name])], field.type)
        if field.name in new
        else row[field.name].cast(field.type)
        for field in schema
    }
    return pa.table(values, schema=schema)


def _flag_columns(flags: Mapping[str, NDArray[np.bool_]]) -> dict[str, pa.Array]:
    return {name: pa.array(flag) for name, flag in flags.items()}


def _tokenizer_columns(columns: TokenColumns | None) -> dict[str, pa.Array]:
    if columns is None:
        return {}
    reach = pa.array(columns.reach, pa.string())
    return {
        "text": _texts(columns.text),
        "reach": reach,
        "unreachable": pc.equal(reach, "unreachable"),  # NULL if it is not known
        "phantom": pa.nulls(len(reach), pa.bool_()) if columns.phantom is None else pa.array(columns.phantom),
        "is_special": pa.array(columns.is_special),
        "is_byte": pa.array(columns.is_byte),
        "is_added": pa.array(columns.is_added),
    }


def _texts(texts: Sequence[str | None]) -> pa.Array:
    """Texts as a column; hardly any holds what cannot be stored, so each is looked at only then."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([None if text is None else storable(text) for text in texts], pa.string())


def _typed(columns: Mapping[str, pa.Array], rows: int) -> pa.Table:
    """The per-token table; unknown columns are NULL throughout."""
    schema = arrow_schema(token_columns())
    arrays = [columns[item.name] if item.name in columns else pa.nulls(rows, item.type) for item in schema]
    return pa.table(arrays, schema=schema)


def attempts_table(attempts: Sequence[Attempt]) -> pa.Table:
    """The attempts of one run: a row for each model and matrix."""
    schema = arrow_schema(attempt_columns())
    columns = [
        pa.array((plain(getattr(attempt, field.name)) for attempt in attempts), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def result_table(kind: str, key: str, record: Any) -> pa.Table:  # Any: RESULTS[kind]
    """One single result as a row."""
    values = {RESULT_KEY: key} | values_of(record)
    schema = arrow_schema(stored_result_columns(kind))
    return pa.table(
        {field.name: pa.array([plain(values[field.name])], field.type) for field in schema},
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


def plain(value: Any) -> Any:
    """A value of a record as Arrow and JSON take it: lists, dicts, and texts that can be stored."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str):
        return storable(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple) and value and not isinstance(value[0], int):
        return [plain(item) for item in value]
    return value
