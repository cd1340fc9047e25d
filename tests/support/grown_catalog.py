"""Catalogs of many models that were never measured: true rows of every column, made in bulk.

Models come in families, of which the first is the base of the others: these share rows with it, lie beside its
centroid, and name it on their card. Every fourth also has an input matrix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.files import ENDING, TOKENS, file_key
from catalog.schema_of_records import (
    Column,
    arrow_schema,
    attempt_columns,
    hole_columns,
    population_columns,
    row_columns,
    token_columns,
)
from catalog.store.open import CatalogStore, open_for_writing
from catalog.tables.versions import file_schema
from catalog.write.commit import tokens_parquet
from catalog.write.contents import KINDS, PART_ROWS
from catalog.write.parts import write_parts
from survey.records.measure_definition import TOKENIZER

FAMILY = 50  # models
FAMILY_NAMES = ("Qwen", "Llama", "Gemma", "Mistral", "Phi", "OLMo", None)
SKETCH, NORMS, HOLES, HOLE_ROWS, EXPONENTS = 512, 704, 3, 60, 256
CHUNK = 1024  # rows made at once
BEGAN = datetime(2026, 1, 1)
FAILING_SHARE = 0.02  # of the attempts
_PLAIN = {
    "VARCHAR": "x",
    "BIGINT": 1,
    "INTEGER": 1,
    "UBIGINT": 7,
    "DOUBLE": 0.5,
    "FLOAT": 0.5,
    "BOOLEAN": True,
    "TIMESTAMP": BEGAN,
    "VARCHAR[]": ["region:us", "text-generation"],
    "BIGINT[]": [HOLE_ROWS] * HOLES,
    "VARCHAR[][]": [["token"] * 5] * HOLES,
    "MAP(VARCHAR, BIGINT)": [
        *((name, 1) for name in ("centroid", "row_norms", "row_sketch", "norm_sketch")),
        (TOKENIZER.name, TOKENIZER.version),  # else a run would read every tokenizer
    ],
}
_OVERLAPS = [[HOLES * HOLE_ROWS if row == column else 0 for column in range(8)] for row in range(8)]
LIARS = 500  # one of so many models states a base of which it has no row


@dataclass(frozen=True, slots=True)
class Growth:
    """The size of a catalog. dims: of its vectors. token_tables: models that have one. nights: runs."""

    models: int
    dims: int = 64
    token_tables: int = 0
    nights: int = 1


def name_of(number: int) -> str:
    """The repository of a model, by its number."""
    return f"org{number % 997:03d}/model-{number:06d}"


def sha_of(number: int) -> str:
    """Its commit."""
    return hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest()


def stated_base(number: int) -> int:
    """The number of the model that a card names."""
    return number // FAMILY * FAMILY + (FAMILY if number % LIARS == LIARS // 2 + 1 else 0)


def grown_catalog(folder: Path, growth: Growth) -> CatalogStore:
    """Write a merged catalog of this size."""
    store = open_for_writing(str(folder))
    by_folder = {kind.folder: kind for kind in KINDS}
    write_parts(store, by_folder["rows"], row_tables(growth), "20260101T000000000000")
    write_parts(store, by_folder["attempts"], attempt_tables(growth), "20260101T000000000000")
    for number, matrix in keys(growth.models):
        if number < growth.token_tables:
            key = name_of(number), sha_of(number), matrix
            table = token_table(*key)
            store.publish(TOKENS, file_key(*key) + ENDING, tokens_parquet(table))
    return store


def keys(models: int) -> Iterator[tuple[int, str]]:
    """Number and matrix of every row, by arrival: each part holds models of all names, in their order."""
    pairs = [(n, matrix) for n in range(models) for matrix in ("input", "output")[n % 4 > 0 :]]
    for first in range(0, len(pairs), PART_ROWS):
        yield from sorted(pairs[first : first + PART_ROWS], key=lambda pair: (name_of(pair[0]), pair[1]))


def row_tables(growth: Growth) -> Iterator[pa.Table]:
    """Every row of the catalog, by its key."""
    pairs = list(keys(growth.models))
    for first in range(0, len(pairs), CHUNK):
        yield _rows(pairs[first : first + CHUNK], growth.dims)


def _rows(pairs: list[tuple[int, str]], dims: int) -> pa.Table:
    numbers = np.array([number for number, _ in pairs])
    family = numbers // FAMILY
    chance = np.random.default_rng(int(numbers[0]))
    values: dict[str, Any] = {
        "repo": [name_of(n) for n in numbers],
        "sha": [sha_of(n) for n in numbers],
        "revision": ["main"] * len(pairs),
        "matrix": [matrix for _, matrix in pairs],
        "org": [name_of(n).partition("/")[0] for n in numbers],
        "family": [FAMILY_NAMES[f % 7] for f in family],
        "base_model": [None if n % FAMILY == 0 else name_of(stated_base(n)) for n in numbers],
        "dtype": ["BF16" if f % 5 else "F16" for f in family],
        "hidden_dim": [dims] * len(pairs),
        "vocab_rows": 128_000 + 256 * (family % 90),
        "informative_rows": [127_000] * len(pairs),
        "rows_hash": chance.integers(0, 1 << 63, len(pairs), dtype=np.uint64),
        "dead_count": [0 if f % 3 == 0 else HOLES * HOLE_ROWS for f in family],
        "black_hole_count": [0 if f % 3 == 0 else HOLES for f in family],
        "centroid_l2": chance.random(len(pairs)),
        "centroid_ratio": chance.random(len(pairs)),
        "dead_fraction": chance.random(len(pairs)),
        "dead_live_angle_deg": [None if f % 3 == 0 else 10 + f % 70 for f in family],
        "token_norm_mean": 1 + chance.random(len(pairs)),
        "measured_at": [BEGAN + timedelta(seconds=int(n)) for n in numbers],
        "fetched_bytes": chance.integers(1 << 28, 1 << 31, len(pairs)),
        "row_sketch": _lists(np.stack([_sketch(n) for n in numbers])),
        "norm_sketch": _lists(chance.random((len(pairs), NORMS), dtype=np.float32)),
        "black_holes": [None if f % 3 == 0 else _holes(int(f)) for f in family],
        "class_overlaps": [_OVERLAPS] * len(pairs),
        "exponents_all": _lists(_exponents(family, chance)),
        "exponents_dead": _lists(_exponents(family, chance) // 100),
    }
    vectors = _centroids(numbers, dims)
    values |= {name: _lists(vectors) for name in ("centroid", "live_centroid", "dead_centroid")}
    population = {column.name: _PLAIN[column.sql_type] for column in population_columns()}
    values["undertrained_populations"] = [[population] * 2] * len(pairs)
    return _table(row_columns(), values, len(pairs))


def _table(columns: tuple[Column, ...], values: dict[str, Any], rows: int) -> pa.Table:
    schema = arrow_schema(columns)
    arrays = [
        values[field.name].cast(field.type)
        if isinstance(values.get(field.name), pa.Array)
        else pa.array(values.get(field.name, [_PLAIN.get(column.sql_type)] * rows), field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.table(arrays, schema=schema)


def _lists(rows: NDArray[Any]) -> pa.Array:
    offsets = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(rows.ravel()))


def _sketch(number: int) -> NDArray[np.uint64]:
    """512 ascending hashes: a derived model has nine tenths of those of its base."""
    base = np.random.default_rng(number // FAMILY).integers(0, 1 << 60, SKETCH, dtype=np.uint64)
    if number % FAMILY:
        own = np.random.default_rng(1_000_000 + number).integers(0, 1 << 60, SKETCH // 10, dtype=np.uint64)
        base[: len(own)] = own
    return np.sort(base)


def _centroids(numbers: NDArray[Any], dims: int) -> NDArray[np.float32]:
    base = np.stack([np.random.default_rng(n // FAMILY).standard_normal(dims) for n in numbers])
    own = np.random.default_rng(int(numbers[0])).standard_normal((len(numbers), dims))
    return (base + 0.05 * own).astype(np.float32)


def _exponents(family: NDArray[Any], chance: np.random.Generator) -> NDArray[np.int64]:
    counts = np.zeros((len(family), EXPONENTS), np.int64)
    counts[:, 100:125] = chance.integers(0, 1 << 24, (len(family), 25))
    return counts


def _holes(family: int) -> list[dict[str, Any]]:
    plain = {column.name: _PLAIN.get(column.sql_type) for column in hole_columns()}
    return [
        plain
        | {
            "rank": rank + 1,
            "population": HOLE_ROWS,
            "token_ids": list(range(rank * 1000 + family % 500, rank * 1000 + family % 500 + HOLE_ROWS)),
            "norm": 0.4 + rank / 10,
        }
        for rank in range(HOLES)
    ]


def attempt_tables(growth: Growth) -> Iterator[pa.Table]:
    """The attempts of each night: measured in the first, unchanged later, a few failed; by run."""
    names = [name_of(n) for n in range(growth.models)]
    plain = _table(
        attempt_columns(),
        {
            "repo": names,
            "revision": ["main"] * growth.models,
            "pattern": [None] * growth.models,
            "listed_in": ["models.txt"] * growth.models,
            "matrix": ["output"] * growth.models,
        },
        growth.models,
    )
    shas = pa.array(map(sha_of, range(growth.models)))
    messages = pa.array(f"{name}: connection reset" for name in names)
    for night in range(growth.nights):
        failed = pa.array(np.random.default_rng(night).random(growth.models) < FAILING_SHARE)
        began = BEGAN + timedelta(days=night)
        ended = np.datetime64(began, "us") + np.arange(growth.models).astype("timedelta64[ms]")
        columns = {
            "run_id": pa.repeat(f"{began:%Y%m%dT%H%M%S}-000000", growth.models),
            "sha": pc.if_else(failed, None, shas),
            "status": pc.if_else(failed, "failed", "unchanged" if night else "measured"),
            "reason": pc.if_else(failed, "network", None),
            "message": pc.if_else(failed, messages, None),
            "finished_at": pa.array(ended.astype("datetime64[us]")),
        }
        table = plain
        for name, values in columns.items():
            at = plain.schema.get_field_index(name)
            table = table.set_column(at, plain.schema.field(at), values.cast(plain.schema.field(at).type))
        yield table


def token_table(repo: str, sha: str, matrix: str, rows: int = 64) -> pa.Table:
    """A small per-token table, of which the first rows are identical and the last have no token."""
    number = np.arange(rows)
    values: dict[str, Any] = {
        "repo": [repo] * rows,
        "sha": [sha] * rows,
        "matrix": [matrix] * rows,
        "token_id": number,
        "norm": 1 + number / rows,
        "row_hash": number.astype(np.uint64),
        "black_hole": [1 if n < rows // 4 else None for n in number],
        "identical": number < rows // 4,
        "zero": number < 0,
        "near_zero": number < 0,
        "nonfinite": number < 0,
        "phantom": number >= rows - 4,
        "reach": ["reachable"] * rows,
        "unreachable": number < 0,
    }
    return _table(token_columns(), values, rows).replace_schema_metadata(file_schema(TOKENS).metadata)
