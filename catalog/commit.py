"""Publish finished files: written beside the final name, then renamed into place."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.place import ATTEMPTS, DAMAGED, ROWS, TOKENS, Place, file_key
from catalog.tables import Tables
from survey.errors import CommitError


def commit(place: Place, tables: Tables) -> None:
    """Publish one measured matrix: the tokens first, the row last.

    The row file is the only proof of completion, so a crash in between leaves an orphan that no
    view shows. Running twice gives the same names. Raises CommitError.
    """
    first = tables.row.select(["repo", "sha", "matrix"]).to_pylist()[0]
    key = file_key(first["repo"], first["sha"], first["matrix"])
    if tables.tokens is not None:
        _publish(tables.tokens, place.root / TOKENS / f"{key}.parquet")
    _publish(tables.row, place.root / ROWS / f"{key}.parquet")


def commit_attempts(place: Place, run_id: str, attempts: pa.Table) -> None:
    """Publish what a run did; the same run again replaces its file. Raises CommitError."""
    _publish(attempts, place.root / ATTEMPTS / f"{run_id}.parquet")


def set_aside(place: Place, file: Path) -> Path:
    """Move a damaged file where no view looks, and return its new path."""
    damaged = place.root / DAMAGED
    damaged.mkdir(exist_ok=True)
    return file.replace(damaged / f"{file.parent.name}-{file.name}")


def sweep(place: Place) -> None:
    """Remove half-written files of runs that were killed; only for the holder of the lock."""
    for beside in place.root.glob("*/.*.tmp"):
        beside.unlink(missing_ok=True)


def _publish(table: pa.Table, path: Path) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as opened:
            pq.write_table(table, opened, compression="zstd", write_page_checksum=True)
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(path)
    except OSError as error:
        raise CommitError("commit-failed", str(path), f"cannot be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
