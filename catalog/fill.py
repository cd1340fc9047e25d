"""Bring stored rows up to date from their per-token tables, without reading a matrix again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.commit import commit
from catalog.done import Key
from catalog.files import ENDING, TOKENS, File
from catalog.place import Place, file_key
from catalog.read import Reader
from catalog.schema import arrow_schema, row_columns
from catalog.tables import Tables
from survey.records import Tokens

ROWS_AT_ONCE = 64  # in memory, 50 kB each

Derive = Callable[[Tokens], Mapping[str, Any]]  # Any: a column's value


@dataclass(slots=True)
class Filled:
    """What came of it. problems: one line for each row that stays as it is."""

    rows: int = 0
    problems: list[str] = field(default_factory=list)


def fill(place: Place, keys: Sequence[Key], derive: Derive, versions: Mapping[str, int]) -> Filled:
    """Add what `derive` says of each row's tokens to the row, and publish it anew.

    versions: of the measures that `derive` stands for. The row's `measured_at` becomes now, since
    of two rows of a key the newest is shown. Raises CommitError.
    """
    done = Filled()
    files = _token_files(place, keys)
    with Reader(place) as reader:
        for row in _rows(reader, [key for key in keys if key in files]):
            key = tuple(row[name][0].as_py() for name in ("repo", "sha", "matrix"))
            try:
                tokens = read_tokens(place, files[key])
            except (pa.ArrowException, OSError) as error:
                done.problems.append(f"{files[key]}: {error}")
                continue
            commit(place, Tables(_updated(row, derive(tokens), versions), None))
            done.rows += 1
    return done


def read_tokens(place: Place, file: File) -> Tokens:
    """A stored per-token table, by token id. Raises ArrowException, OSError."""
    with place.open(file) as opened:
        table = pq.read_table(opened, columns=["token_id", "norm", "row_hash", "black_hole"])
    table = table.sort_by("token_id").combine_chunks()
    return Tokens(
        norm=table["norm"].to_numpy(),  # NULL becomes NaN
        row_hash=table["row_hash"].to_numpy(),
        black_hole=table["black_hole"].fill_null(0).to_numpy(),
    )


def _token_files(place: Place, keys: Sequence[Key]) -> dict[Key, File]:
    there = {file.name: file for file in place.files(TOKENS)}
    files = {key: there[name] for key in keys if (name := file_key(*key) + ENDING) in there}
    cut_short, gone = place.cut_short(list(files.values()))
    left_out = {file.path for file in (*cut_short, *gone)}
    return {key: file for key, file in files.items() if file.path not in left_out}


def _rows(reader: Reader, keys: Sequence[Key]) -> Iterator[pa.Table]:
    """Each row by itself."""
    for first in range(0, len(keys), ROWS_AT_ONCE):
        table = reader.rows(keys[first : first + ROWS_AT_ONCE])
        for number in range(len(table)):
            yield table.slice(number, 1)


def _updated(row: pa.Table, columns: Mapping[str, Any], versions: Mapping[str, int]) -> pa.Table:
    schema = arrow_schema(row_columns())
    measures = dict(row["measures"][0].as_py() or []) | dict(versions)
    new = dict(columns) | {
        "measures": list(measures.items()),
        "measured_at": datetime.now(UTC).replace(tzinfo=None),
    }
    return pa.table(
        [
            pa.array([new[item.name]], item.type) if item.name in new else row[item.name].cast(item.type)
            for item in schema
        ],
        schema=schema,
    )
