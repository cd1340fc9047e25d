"""The stored tables of one matrix, read to be published anew with more columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.files import ENDING, TOKENS, File, file_key
from catalog.read.heavy_files import heavy_files
from catalog.read.measured import RowKey
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from catalog.tables.column_chunks import parquet_file
from catalog.tables.inspection import inspect
from catalog.write.arrow_tables import Tables
from survey.errors import CommitError
from survey.records.measured_columns import Tokens, Undertrained, UndertrainedPopulation

STORED_BATCH_ROWS = 64  # in memory, 50 kB each
MAX_VOCAB_ROWS = 1 << 24  # the largest vocabulary that we know has 2^20
_RESURVEY = "`survey run --resurvey` measures it again"


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
    return _stored_model(store, key, row, files.get(key), _too_large(store, files.values()))


def read_each(store: CatalogStore, keys: Sequence[RowKey]) -> Iterator[tuple[RowKey, StoredModel]]:
    """The stored tables of several matrices, one after another, without those that cannot be read.

    Raises UsageError if the catalog cannot be read.
    """
    files = token_files(store, keys)
    too_large = _too_large(store, files.values())
    with Reader(store) as reader:
        for key, row in each_row(reader, keys):
            try:
                stored = _stored_model(store, key, row, files.get(key), too_large)
            except CommitError:
                continue
            yield key, stored


def _too_large(store: CatalogStore, files: Iterable[File]) -> dict[str, int]:
    """By their paths, the per-token tables that take more memory than any of ours: the MB they exceed."""
    return {file.path: most_mb for file, most_mb in heavy_files(store, list(files))}


def _stored_model(
    store: CatalogStore, key: RowKey, row: pa.Table, file: File | None, too_large: Mapping[str, int]
) -> StoredModel:
    """The model of a stored row. file: of its per-token table. Raises CommitError."""
    with of_stored_values(f"{key[0]} in {store}"):
        vocab_rows, black_holes = vocab_rows_of(row), _black_holes_of(row)
        undertrained = _undertrained_of(row)
    if file is not None and file.path in too_large:
        problem = f"takes more than {too_large[file.path]:,} MB of memory; none of ours does"
        raise CommitError("commit-failed", str(file), f"the per-token table {problem}", _RESURVEY)
    tokens = None if file is None else stored_token_table(store, file, vocab_rows)
    return StoredModel(
        Tables(row, tokens),
        vocab_rows,
        black_holes,
        None if tokens is None else tokens_of(tokens),
        undertrained,
    )


def each_row(reader: Reader, keys: Sequence[RowKey]) -> Iterator[tuple[RowKey, pa.Table]]:
    """Each row that exists as a table of its own."""
    for first in range(0, len(keys), STORED_BATCH_ROWS):
        table = reader.rows(keys[first : first + STORED_BATCH_ROWS])
        for number in range(len(table)):
            row = table.slice(number, 1)
            yield (row["repo"][0].as_py(), row["sha"][0].as_py(), row["matrix"][0].as_py()), row


def token_files(store: CatalogStore, keys: Iterable[RowKey]) -> dict[RowKey, File]:
    """The files of the per-token tables of these keys that exist and are sound."""
    stored = {file.name: file for file in store.files(TOKENS)}
    files = {key: stored[name] for key in keys if (name := file_key(*key) + ENDING) in stored}
    sound = {file.path for file in inspect(store, list(files.values())).sound}
    return {key: file for key, file in files.items() if file.path in sound}


def stored_token_table(
    store: CatalogStore, file: File, vocab_rows: int, columns: Sequence[str] | None = None
) -> pa.Table:
    """A per-token table, sorted by token id. Raises CommitError if it cannot be read.

    It raises, too, unless the table has the tokens of a matrix of so many rows, once each.
    columns: those to read, besides token_id; None for all.
    """
    selected = None if columns is None else ["token_id", *columns]
    try:
        with store.open(file) as opened:
            whole = parquet_file(opened)
            stated = whole.metadata.num_rows
            _refuse(file, stated != vocab_rows, f"{stated:,} rows, expected {vocab_rows:,}")
            table = whole.read(columns=selected).sort_by("token_id").combine_chunks()
    except (pa.ArrowException, OSError) as error:
        problem = f"the per-token table cannot be read: {error}"
        raise CommitError("commit-failed", str(file), problem) from error
    ids = pa.array(np.arange(vocab_rows, dtype=np.int32))
    _refuse(file, not table["token_id"].combine_chunks().equals(ids), "other token ids than 0, 1, 2, …")
    _refuse(file, table["row_hash"].null_count > 0, "rows without a hash")
    return table


@contextmanager
def of_stored_values(name: str) -> Iterator[None]:
    """A block that computes with a stored row's values, which may be forged.

    Raises CommitError if that fails: a row that no version of the survey wrote must stop no other. name: of
    the row.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        problem = f"its row is not one that the survey wrote: {type(error).__name__}: {error}"
        raise CommitError("commit-failed", name, problem, _RESURVEY) from error


def vocab_rows_of(row: pa.Table) -> int:
    """The number of rows of a stored row's matrix. Raises ValueError if it is no such number."""
    rows = row["vocab_rows"][0].as_py()
    if rows is None or not 0 < rows <= MAX_VOCAB_ROWS:
        raise ValueError(f"vocab_rows is {rows}")
    return int(rows)


def _refuse(file: File, is_wrong: bool, what: str) -> None:
    if is_wrong:
        raise CommitError("commit-failed", str(file), f"the per-token table has {what}", _RESURVEY)


def _black_holes_of(row: pa.Table) -> list[list[int]]:
    """The token ids of each black hole. Raises TypeError, ValueError."""
    holes = [[*hole["token_ids"]] for hole in row["black_holes"][0].as_py()]
    rows = vocab_rows_of(row)
    if not all(0 <= token < rows for hole in holes for token in hole):
        raise ValueError("a black hole holds a token that is none")
    return holes


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
