"""Two rows have the same digest only if all their values are the same."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from catalog.schema_of_records import arrow_schema, row_columns
from catalog.write.digest import catalog_row_digests
from tests.bench.catalog import rows

HOLE = pa.struct([("rank", pa.int64()), ("token_ids", pa.list_(pa.int32()))])
DIFFERENT = {
    "one more zero in a list": (pa.list_(pa.int64()), [0, 0], [0, 0, 0]),
    "an empty list and NULL": (pa.list_(pa.int64()), [], None),
    "an empty list and a list of NULL": (pa.list_(pa.int64()), [], [None]),
    "NULL and 0": (pa.int64(), None, 0),
    "NULL and an empty text": (pa.string(), None, ""),
    "NULL and false": (pa.bool_(), None, False),
    "the order of a list": (pa.list_(pa.int64()), [1, 2], [2, 1]),
    "the borders of lists within a list": (pa.list_(pa.list_(pa.string())), [["a", "b"]], [["a"], ["b"]]),
    "the sign of zero": (pa.float64(), 0.0, -0.0),
    "the last bit": (pa.float64(), 1.0, math.nextafter(1.0, 2.0)),
    "the last bit in a vector": (pa.list_(pa.float32()), [1.0, 2.0], [1.0, 2.0000002384185791]),
    "a value of a map": (pa.map_(pa.string(), pa.int64()), [("a", 1)], [("a", 2)]),
    "a map's values exchanged": (pa.map_(pa.string(), pa.int64()), [("a", 1), ("b", 2)], [("a", 2), ("b", 1)]),
    "deep in a struct": (
        pa.list_(HOLE),
        [{"rank": 1, "token_ids": [1, 2]}],
        [{"rank": 1, "token_ids": [2, 1]}],
    ),
}  # fmt: skip


def digests(kind: pa.DataType, *values: Any) -> list[int]:
    return [int(digest) for digest in catalog_row_digests(pa.table({"x": pa.array(values, kind)}))]


@pytest.mark.parametrize(("kind", "one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_rows_that_differ_differ_in_their_digests(kind: pa.DataType, one: Any, other: Any) -> None:
    first, second, again = digests(kind, one, other, one)
    assert first != second
    assert first == again


def test_a_value_counts_for_its_column() -> None:
    table = pa.table(
        {"a": [1, None], "b": [None, 1]}, schema=pa.schema([("a", pa.int64()), ("b", pa.int64())])
    )
    first, second = catalog_row_digests(table)
    assert first != second


@pytest.mark.parametrize("column", [column.name for column in row_columns()])
def test_every_column_of_a_row_counts(column: str) -> None:
    table = rows(0, 2, 8)
    without = table.set_column(
        table.schema.get_field_index(column), column, pa.nulls(2, table.schema.field(column).type)
    )
    assert set(catalog_row_digests(table)).isdisjoint(catalog_row_digests(without))


def test_a_digest_is_the_same_however_rows_lie() -> None:
    table = rows(0, 9, 8)
    cut = pa.concat_tables([table.slice(0, 2), table.slice(2, 3).combine_chunks(), table.slice(5)])
    whole = list(catalog_row_digests(table))
    assert list(catalog_row_digests(cut)) == whole
    assert [catalog_row_digests(table.slice(number, 1))[0] for number in range(9)] == whole
    assert table.schema.equals(arrow_schema(row_columns()))
    assert len(set(whole)) == 9
