"""Bring stored rows up to date from their per-token tables, without reading a matrix again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catalog.read.measured import RowKey
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from catalog.write.arrow_tables import Tables, renewed
from catalog.write.commit import commit
from catalog.write.stored_matrix import (
    each_row,
    of_stored_values,
    stored_token_table,
    token_files,
    tokens_of,
    vocab_rows_of,
)
from survey.errors import CommitError
from survey.records.measured_columns import Tokens

Derive = Callable[[Tokens], Mapping[str, Any]]  # Any: a column's value


@dataclass(slots=True)
class Filled:
    """The result of a backfill. rows: changed. problems: one line for each row that stays as it is."""

    rows: int = 0
    problems: list[str] = field(default_factory=list)


def fill(store: CatalogStore, keys: Sequence[RowKey], derive: Derive, versions: Mapping[str, int]) -> Filled:
    """Add the columns that `derive` computes from each row's tokens, and publish the row anew.

    versions: of the measures that `derive` computes.
    """
    done = Filled()
    files = token_files(store, keys)
    with Reader(store) as reader:
        for key, row in each_row(reader, list(files)):
            try:
                with of_stored_values(key[0]):
                    vocab_rows = vocab_rows_of(row)
                table = stored_token_table(store, files[key], vocab_rows, ["norm", "row_hash", "black_hole"])
                with of_stored_values(key[0]):
                    filled = renewed(row, derive(tokens_of(table)), versions)
                commit(store, Tables(filled, None))
                done.rows += 1
            except CommitError as error:
                done.problems.append(str(error))
    return done
