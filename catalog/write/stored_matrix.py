"""The stored tables of one matrix, read to be published anew with more columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.files import ENDING, TOKENS, File, file_key
from catalog.read.measured import RowKey
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from catalog.tables.inspection import inspect
from catalog.write.arrow_tables import Tables
from survey.errors import CommitError
from survey.records.measured_columns import Tokens, Undertrained, UndertrainedPopulation

BATCH_ROWS = 64  # in memory, 50 kB each


@dataclass(frozen=True, slots=True)
class StoredModel:
    """The tables of a matrix. black_holes: the rows of each, by rank. tokens: None if declined.

    undertrained: its columns; None if an older version measured them.
    """

    tables: Tables
    vocab_rows: int
    black_holes: list[list[int]]
    tokens: Tokens | None
    undertrained: Undertrained | None

    @property
    def name(self) -> str:
        """Its model and commit, for messages."""
        return f"{self.value('repo')}@{self.value('sha')}"

    def value(self, column: str) -> Any:  # Any: a column's value
        """A value of its row."""
        return self.tables.row[column][0].as_py()


def read_stored(store: CatalogStore, key: RowKey) -> StoredModel:
    """The stored tables of a repo, sha and matrix. Raises CommitError if they cannot be read."""
    name = f"{key[0]} in {store}"
    with Reader(store) as reader:
        row = reader.rows([key])
    if len(row) != 1:
        raise CommitError("commit-failed", name, f"found {len(row)} rows, expected one")
    files = token_files(store, [key])
    return _stored_model(row, stored_token_table(store, files[key]) if key in files else None)


def _stored_model(row: pa.Table, tokens: pa.Table | None) -> StoredModel:
    return StoredModel(
        Tables(row, tokens),
        row["vocab_rows"][0].as_py(),
        [hole["token_ids"] for hole in row["black_holes"][0].as_py()],
        None if tokens is None else tokens_of(tokens),
        _undertrained_of(row),
    )


def read_each(store: CatalogStore, keys: Sequence[RowKey]) -> Iterator[tuple[RowKey, StoredModel]]:
    """The stored tables of several matrices, one after another, without those that cannot be read.

    Raises UsageError if the catalog cannot be read.
    """
    files = token_files(store, keys)
    with Reader(store) as reader:
        for key, row in each_row(reader, keys):
            try:
                tokens = stored_token_table(store, files[key]) if key in files else None
            except CommitError:
                continue
            yield key, _stored_model(row, tokens)


def each_row(reader: Reader, keys: Sequence[RowKey]) -> Iterator[tuple[RowKey, pa.Table]]:
    """Each row that exists as a table of its own."""
    for first in range(0, len(keys), BATCH_ROWS):
        table = reader.rows(keys[first : first + BATCH_ROWS])
        for number in range(len(table)):
            row = table.slice(number, 1)
            yield (row["repo"][0].as_py(), row["sha"][0].as_py(), row["matrix"][0].as_py()), row


def token_files(store: CatalogStore, keys: Iterable[RowKey]) -> dict[RowKey, File]:
    """The files of the per-token tables of these keys that exist and are sound."""
    stored = {file.name: file for file in store.files(TOKENS)}
    files = {key: stored[name] for key in keys if (name := file_key(*key) + ENDING) in stored}
    sound = {file.path for file in inspect(store, list(files.values())).sound}
    return {key: file for key, file in files.items() if file.path in sound}


def stored_token_table(store: CatalogStore, file: File, columns: Sequence[str] | None = None) -> pa.Table:
    """A per-token table, sorted by token id. Raises CommitError if it cannot be read.

    columns: those to read, besides token_id; None for all.
    """
    selected = None if columns is None else ["token_id", *columns]
    try:
        with store.open(file) as opened:
            return pq.read_table(opened, columns=selected).sort_by("token_id").combine_chunks()
    except (pa.ArrowException, OSError) as error:
        problem = f"the per-token table cannot be read: {error}"
        raise CommitError("commit-failed", str(file), problem) from error


def _undertrained_of(row: pa.Table) -> Undertrained | None:
    names = [field.name for field in dataclasses.fields(Undertrained)]
    values = {name: row[name][0].as_py() for name in names}
    stored = values["undertrained_populations"]
    fields = [field.name for field in dataclasses.fields(UndertrainedPopulation)]
    if stored is None or any(population.keys() != set(fields) for population in stored):
        return None  # of an older version
    populations = tuple(UndertrainedPopulation(**population) for population in stored)
    return Undertrained(**values | {"undertrained_populations": populations})


def tokens_of(table: pa.Table) -> Tokens:
    """The columns from which measures of the per-token table are computed."""
    population = table["population"] if "population" in table.column_names else None
    return Tokens(
        norm=table["norm"].to_numpy(),  # NULL becomes NaN
        row_hash=table["row_hash"].to_numpy(),
        black_hole=table["black_hole"].fill_null(0).to_numpy(),
        population=None if population is None else population.fill_null(0).to_numpy(),
    )
