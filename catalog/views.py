"""The views over a catalog's files, and a connection that can read nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from catalog.place import ATTEMPTS, ROWS, TOKENS, Place
from catalog.schema import Column, attempt_columns, hole_columns, row_columns, token_columns

VECTORS = ("centroid", "dead_centroid", "live_centroid")
_NESTED = ("black_holes", "exponents_all", "exponents_dead", *VECTORS)
_KEY = "repo, sha, matrix"


def connect(place: Place, without: Sequence[Path] = ()) -> tuple[duckdb.DuckDBPyConnection, list[Path]]:
    """A connection with all views, and the files left out because they are cut short.

    without: more files to leave out. SQL on it can read files of this catalog and nothing else.
    """
    connection = duckdb.connect()
    root = str(place.root).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{root}']")
    connection.execute("SET enable_external_access = false")
    damaged: list[Path] = []

    def sound(files: Sequence[Path]) -> list[Path]:
        good = [path for path in files if path not in without]
        broken = [path for path in good if not is_whole(path)]
        damaged.extend(broken)
        return [path for path in good if path not in broken]

    rows = sound(place.files(ROWS))
    # A tokens file without its row is the orphan of a crash: the model is not complete.
    complete = {path.name for path in rows}
    tokens = sound([path for path in place.files(TOKENS) if path.name in complete])
    for name, body in _views(rows, tokens, sound(place.files(ATTEMPTS))).items():
        connection.execute(f"CREATE VIEW {name} AS {body}")
    connection.execute("SET lock_configuration = true")
    return connection, damaged


def view_columns() -> dict[str, tuple[Column, ...]]:
    """Every view with its columns, for the data dictionary."""
    key = tuple(column for column in row_columns() if column.name in ("repo", "sha", "matrix"))
    counts = tuple(
        Column(name, "BIGINT", "", meaning)
        for name, meaning in (
            ("exponent", "biased exponent"),
            ("all_count", "elements with it, all rows"),
            ("dead_count", "elements with it, dead rows"),
            ("live_count", "elements with it, live rows"),
        )
    )
    vectors = tuple(column for column in row_columns() if column.name in VECTORS)
    return {
        "models": tuple(column for column in row_columns() if column.name not in _NESTED),
        "black_holes": (*key, *hole_columns()),
        "exponents": (*key, *counts),
        "vectors": (*key, *vectors),
        "tokens": token_columns(),
        "attempts": attempt_columns(),
    }


def is_whole(path: Path) -> bool:
    """Whether a file begins and ends as a Parquet file does; cheap enough for every file."""
    try:
        with path.open("rb") as opened:
            if opened.read(4) != b"PAR1":
                return False
            size = opened.seek(0, 2)
            opened.seek(max(0, size - 8))
            tail = opened.read(8)
    except OSError:
        return False
    footer_bytes = int.from_bytes(tail[:4], "little")
    return tail[4:] == b"PAR1" and footer_bytes + 12 <= size


def is_readable(path: Path, columns: tuple[Column, ...]) -> bool:
    """Whether every column of a file can be read as its type; reads the whole file."""
    connection = duckdb.connect()
    try:
        connection.execute(f"CREATE TABLE probe AS {_union([path], columns)}")
    except duckdb.Error:
        return False
    finally:
        connection.close()
    return True


def _views(rows: list[Path], tokens: list[Path], attempts: list[Path]) -> dict[str, str]:
    models = ", ".join(column.name for column in view_columns()["models"])
    hole = ", ".join(f"hole.{column.name}" for column in hole_columns())
    return {
        # The same key twice happens while loose files are merged: the newest wins.
        "measured_rows": f"""
            SELECT * FROM ({_union(rows, row_columns())})
            WHERE repo IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY {_KEY} ORDER BY measured_at DESC) = 1""",
        "models": f"SELECT {models} FROM measured_rows",
        "black_holes": f"""
            SELECT {_KEY}, {hole}
            FROM (SELECT {_KEY}, unnest(black_holes) AS hole FROM measured_rows)""",
        "exponents": f"""
            SELECT {_KEY}, exponent, all_count, dead_count, all_count - dead_count AS live_count
            FROM (
                SELECT {_KEY}, unnest(range(len(exponents_all))) AS exponent,
                    unnest(exponents_all) AS all_count, unnest(exponents_dead) AS dead_count
                FROM measured_rows)
            WHERE all_count > 0""",
        "vectors": f"SELECT {_KEY}, {', '.join(VECTORS)} FROM measured_rows",
        "tokens": _union(tokens, token_columns()),
        "attempts": _union(attempts, attempt_columns()),
    }


def _union(files: Sequence[Path], columns: tuple[Column, ...]) -> str:
    """All files as one relation with exactly our columns, typed even where there is no file.

    A file written by an older version lacks the newer columns: they are NULL in it.
    """
    typed = ", ".join(f'NULL::{column.sql_type} AS "{column.name}"' for column in columns)
    names = ", ".join(f'"{column.name}"' for column in columns)
    empty = f"SELECT {typed} WHERE false"
    if not files:
        return empty
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    found = f"SELECT * FROM read_parquet([{listed}], union_by_name = true)"
    return f"SELECT {names} FROM ({empty} UNION ALL BY NAME {found})"
