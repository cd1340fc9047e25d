"""Publish finished files, in a local folder or in an object store."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.files import ATTEMPTS, ENDING, ROWS, TOKENS, Write, file_key, result_key
from catalog.store.open import CatalogStore
from catalog.tables.versions import file_schema
from catalog.write.arrow_tables import Tables, result_table


def commit(store: CatalogStore, tables: Tables) -> None:
    """Publish one measured matrix: the tokens first, the row last.

    The row file is the only proof of completion, so a crash in between leaves an orphan that no
    view shows. Running twice gives the same names. Raises CommitError.
    """
    first = tables.row.select(["repo", "sha", "matrix"]).to_pylist()[0]
    name = file_key(first["repo"], first["sha"], first["matrix"]) + ENDING
    if tables.tokens is not None:
        store.publish(TOKENS, name, tokens_parquet(_marked(TOKENS, tables.tokens)))
    row = _marked(ROWS, tables.row)
    store.publish(ROWS, name, _parquet(row, use_dictionary=False))  # for one row a dictionary only adds bytes


def commit_attempts(store: CatalogStore, run_id: str, attempts: pa.Table) -> None:
    """Publish the attempts of a run; the same run again replaces its file. Raises CommitError."""
    store.publish(ATTEMPTS, run_id + ENDING, _parquet(_marked(ATTEMPTS, attempts)))


def commit_result(store: CatalogStore, kind: str, key: tuple[str, ...], record: Any) -> None:
    """Publish a single result; of those with the same key the newest is shown. Raises CommitError.

    kind: of `survey.records.results.RESULTS`, whose record `record` is (therefore Any). key: what tells
    results apart, the readable part first. No lock is needed: it is one rename, or one PUT, of a name
    that never existed before, so a concurrent compaction cannot mistake it for its predecessor.
    """
    name = result_key(*key)
    when = f"{record.made_at:%Y%m%dT%H%M%S%f}"
    store.publish(kind, f"{name}.{when}{ENDING}", _parquet(_marked(kind, result_table(kind, name, record))))


def _marked(folder: str, table: pa.Table) -> pa.Table:
    """The same table with our mark in its metadata."""
    schema = file_schema(folder)
    return table.replace_schema_metadata(schema.metadata) if table.schema.equals(schema) else table


def tokens_parquet(table: pa.Table) -> Write:
    """Long columns in compact encodings. Norms, hashes and texts rarely repeat: dictionaries only add."""
    repeated = [name for name in table.column_names if name not in ("token_id", "norm", "row_hash", "text")]
    return lambda opened: pq.write_table(
        table,
        opened,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=[name for name in repeated if table.schema.field(name).type != pa.bool_()],
        column_encoding={
            "token_id": "DELTA_BINARY_PACKED",
            "norm": "BYTE_STREAM_SPLIT",
            "text": "DELTA_BYTE_ARRAY",
        },
        row_group_size=len(table) or 1,
    )


def _parquet(table: pa.Table, *, use_dictionary: bool = True) -> Write:
    return lambda opened: pq.write_table(
        table, opened, compression="zstd", write_page_checksum=True, use_dictionary=use_dictionary
    )
