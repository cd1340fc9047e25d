"""`lineage_conflicts` of models of which very many have the same rows: time and memory grow with the models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.grown_catalog import SKETCH, Growth, name_of, row_tables

from catalog.read.reader import Reader
from catalog.store.open import CatalogStore, open_for_writing
from catalog.write.contents import KINDS
from catalog.write.parts import write_parts
from queries.library import Query, find

MODELS = 400
BASE, OTHER_BASE = 0, 1  # both without a row of the others


def alike(table: pa.Table) -> pa.Table:
    """All but the two bases have one sketch; every other one states a base of its own kind's."""
    numbers = [int(repo.rpartition("-")[2]) for repo in table["repo"].to_pylist()]
    one = np.sort(np.random.default_rng(7).integers(0, 1 << 60, SKETCH, dtype=np.uint64))
    chance = np.random.default_rng(numbers)
    columns: dict[str, list[Any]] = {
        "dtype": ["BF16"] * len(numbers),
        "base_model": [None if n < 2 else name_of(n % 2) for n in numbers],
        "row_sketch": [
            np.sort(np.random.default_rng(n).integers(0, 1 << 60, SKETCH, dtype=np.uint64)) if n < 2 else one
            for n in numbers
        ],
        "centroid": list(chance.standard_normal((len(numbers), 64), dtype=np.float32)),
    }
    for name, values in columns.items():
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    return table


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> CatalogStore:
    store = open_for_writing(str(tmp_path_factory.mktemp("alike") / "c"))
    kind = next(kind for kind in KINDS if kind.folder == "rows")
    write_parts(store, kind, map(alike, row_tables(Growth(MODELS))), "20260101T000000000000")
    return store


@pytest.fixture
def reader(catalog: CatalogStore) -> Iterator[Reader]:
    with Reader(catalog) as opened:
        yield opened


@pytest.fixture(scope="module")
def query() -> Query:
    return find("lineage_conflicts")


def ask(reader: Reader, query: Query, sql: str) -> list[dict[str, Any]]:
    answer = reader.ask(sql, query.bind({}))
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


@pytest.mark.timeout(60)
def test_hundreds_of_models_with_the_same_rows_are_compared_as_one(reader: Reader, query: Query) -> None:
    rows = ask(reader, query, query.sql)
    assert len(rows) == MODELS - 2
    assert {row["finding"] for row in rows} == {"rows of another model"}
    repos = sorted(name_of(n) for n in range(2, MODELS))
    # The first with these rows that states another base.
    nearest = {
        base: next(repo for repo in repos if int(repo.rpartition("-")[2]) % 2 != base)
        for base in (BASE, OTHER_BASE)
    }
    assert Counter((row["base_model"], row["nearest"]) for row in rows) == {
        (name_of(base), nearest[base]): MODELS // 2 - 1 for base in (BASE, OTHER_BASE)
    }


def test_those_that_take_too_long_to_compare_are_listed_as_such(reader: Reader, query: Query) -> None:
    assert query.sql.count("50_000_000") == 1
    rows = ask(reader, query, query.sql.replace("50_000_000", "100"))
    assert len(rows) == MODELS - 2
    assert {(row["finding"], row["nearest"]) for row in rows} == {
        ("not compared: too many models have its rows", None)
    }
