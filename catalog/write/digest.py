"""A digest of each row of a table: equal only if all values are, nested ones, NULLs and lengths included.

DuckDB's own hash() is the same for [0, 0] and [0, 0, 0], and for an empty list and NULL: it proves
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
_NULL, _SEED = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)


def catalog_row_digests(table: pa.Table) -> U64:
    """The digests, [rows], over all columns in their order."""
    digests = (_column(table[name]) for name in table.column_names)
    return _combined(digests, len(table))


def _column(column: pa.ChunkedArray) -> U64:
    chunks = [_digests(chunk) for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.uint64)


def _digests(array: pa.Array) -> U64:
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        values = _of_lists(array)
    elif pa.types.is_struct(kind):
        values = _combined(map(_digests, array.flatten()), len(array))
    elif pa.types.is_string(kind):
        values = np.fromiter(
            (0 if text is None else xxhash.xxh3_64_intdigest(text.as_buffer()) for text in _scalars(array)),
            np.uint64,
            len(array),
        )
    else:
        values = _bits(array)
    return np.where(np.asarray(array.is_valid()), values, _NULL)


def _scalars(array: pa.Array) -> Iterable[pa.StringScalar | None]:
    return (value if value.is_valid else None for value in array)


def _of_lists(array: pa.Array) -> U64:
    """Digests of lists, [rows]: over each element with its index, and over the length."""
    offsets = array.offsets.to_numpy().astype(np.int64)
    if pa.types.is_map(array.type):
        items = pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"])
    else:
        items = array.values
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    starts, lengths = offsets[:-1] - first, np.diff(offsets)
    inner = _digests(items.slice(first, last - first))
    positions = np.arange(last - first) - np.repeat(starts, lengths)
    terms = _mixed(inner + _mixed(positions.astype(np.uint64)))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    total: U64 = sums[starts + lengths] - sums[starts]
    return _mixed(total ^ _mixed(lengths.astype(np.uint64) + _SEED))


def _bits(array: pa.Array) -> U64:
    """Digests of the stored bits, [rows]: -0.0 differs from 0.0, and a NaN equals itself."""
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    plain = array.fill_null(False if pa.types.is_boolean(array.type) else 0).to_numpy(zero_copy_only=False)
    if plain.dtype == np.bool_:
        return _mixed(plain.astype(np.uint64))
    return _mixed(plain.view(f"u{plain.dtype.itemsize}").astype(np.uint64))


def _combined(digests: Iterable[U64], rows: int) -> U64:
    total = np.full(rows, _SEED)
    for digest in digests:
        total = _mixed(total * np.uint64(31) + digest)
    return total


def _mixed(values: U64) -> U64:
    """The finaliser of splitmix64, [rows]: each bit of the result depends on every bit of a value."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
