"""What the catalog holds of one matrix, to be published anew with more in it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.files import ENDING, TOKENS
from catalog.place import Place, file_key
from catalog.read import Reader
from catalog.tables import Tables
from survey.errors import CommitError
from survey.records import Tokens


@dataclass(frozen=True, slots=True)
class Stored:
    """The tables of a matrix. black_holes: the rows of each, by rank. tokens: None where declined."""

    tables: Tables
    vocab_rows: int
    black_holes: list[list[int]]
    tokens: Tokens | None


def read_stored(place: Place, key: tuple[str, str, str]) -> Stored:
    """The stored tables of a repo, sha and matrix. Raises CommitError where they cannot be read."""
    where = f"{key[0]} in {place}"
    with Reader(place) as reader:
        row = reader.rows([key])
    if len(row) != 1:
        raise CommitError("commit-failed", where, f"found {len(row)} rows, expected one")
    try:
        tokens = _token_table(place, file_key(*key) + ENDING)
    except (pa.ArrowException, OSError) as error:
        raise CommitError("commit-failed", where, f"the per-token table cannot be read: {error}") from error
    return Stored(
        Tables(row, tokens),
        row["vocab_rows"][0].as_py(),
        [hole["token_ids"] for hole in row["black_holes"][0].as_py()],
        None if tokens is None else _tokens(tokens),
    )


def _token_table(place: Place, name: str) -> pa.Table | None:
    """The per-token table, by token id."""
    for file in place.files(TOKENS):
        if file.name == name:
            with place.open(file) as opened:
                return pq.read_table(opened).sort_by("token_id").combine_chunks()
    return None


def _tokens(table: pa.Table) -> Tokens:
    return Tokens(
        norm=table["norm"].to_numpy(),  # NULL becomes NaN
        row_hash=table["row_hash"].to_numpy(),
        black_hole=table["black_hole"].fill_null(0).to_numpy(),
    )
