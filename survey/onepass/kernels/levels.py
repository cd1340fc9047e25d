"""Rows of packed levels with factors for groups of neighbours, decoded to float32.

A row's levels are one little-endian stream of bits: level i lies at bits [b·i, b·i + b). So do MLX, and
compressed-tensors in its words of 32 bits. The number of a level is its distance from `lowest`, an entry of a
table, or a float of 8 bits. Behind the levels lie the factors of the groups, then what is added, if anything.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from survey.onepass.kernels.jit import carray, njit
from survey.onepass.kernels.level_values import (
    bfloat16_at,
    divided,
    first_of,
    float16_at,
    float32_at,
    no_term,
    store_affine,
    store_e4m3,
    store_entries,
)
from survey.onepass.kernels.level_vectors import byte_at, flipped, load_levels, load_narrow, load_nibbles
from survey.onepass.kernels.vectors import LEVELS

EIGHT, HALF = np.int64(8), LEVELS // 2  # levels; eight are whole bytes
# What a type states: the bits of levels; the elements of a group; the dtype of factors; what divides these;
# whether groups have terms; the lowest level; bits of levels that are flipped (the sign, so that signed bytes
# begin with the lowest).
STATED = ("bits", "group", "dtype", "divisor", "terms", "lowest", "flip")
BITS, GROUP, DTYPE, DIVISOR, TERMS, LOWEST, FLIP = range(len(STATED))
INTEGERS_4, INTEGERS_8, INTEGERS, ENTRIES, ENTRIES_HIGH_FIRST, E4M3 = range(6)  # kinds of levels
BY_TABLE, FLOAT16, BFLOAT16, FLOAT32 = range(4)  # dtypes; bytes that stand for an entry of the table
FACTOR_ENTRIES, ALL_ENTRIES = 256, 512  # of the table: of factors, and of levels behind them


@njit(forceinline=True)
def _stated(numbers: Any) -> Any:
    """As a tuple, whose items stay in registers: for all the compiler knows, values may lie over numbers."""
    bits, group, dtype, divisor = numbers[BITS], numbers[GROUP], numbers[DTYPE], numbers[DIVISOR]
    return bits, group, dtype, divisor, numbers[TERMS], numbers[LOWEST], numbers[FLIP]


@njit(forceinline=True)
def _factor_bytes(dtype: int) -> int:
    return 4 if dtype == FLOAT32 else 1 if dtype == BY_TABLE else 2


@njit(forceinline=True)
def _factor(dtype: int, packed: Any, at: int, divisor: int, table: Any) -> Any:
    """The factor that begins at a byte."""
    if dtype == FLOAT16:
        return float16_at(packed, at)
    if dtype == BFLOAT16:
        return bfloat16_at(packed, at)
    if dtype == FLOAT32:
        factor = float32_at(packed, at)
        return factor if divisor == 1 else divided(factor, divisor)
    return float32_at(table, np.intp(byte_at(packed, at)))


@njit(forceinline=True)
def _pair(dtype: int, packed: Any, at: int, stated: Any, table: Any) -> Any:
    """The factors of both halves of a vector."""
    first = _factor(dtype, packed, at, stated[DIVISOR], table)
    if stated[GROUP] == HALF:
        return first, _factor(dtype, packed, at + _factor_bytes(dtype), stated[DIVISOR], table)
    return first, first


@njit(forceinline=True)
def _store(
    kind: int, packed: Any, values: Any, i: int, stated: Any, table: Any, factors: Any, terms: Any
) -> None:
    """Set 32 values."""
    bits = stated[BITS]
    if kind == ENTRIES:
        store_entries(values, i, load_nibbles(packed, i // 2, np.uint8(0)), table, FACTOR_ENTRIES, factors)
    elif kind == ENTRIES_HIGH_FIRST:
        store_entries(values, i, load_nibbles(packed, i // 2, np.uint8(4)), table, FACTOR_ENTRIES, factors)
    elif kind == E4M3:
        store_e4m3(values, i, load_levels(packed, i), factors)
    else:
        if kind == INTEGERS_8:
            levels = flipped(load_levels(packed, i), np.uint8(stated[FLIP]))
        elif kind == INTEGERS_4:
            levels = load_nibbles(packed, i // 2, np.uint8(0))
        else:
            levels = load_narrow(packed, i // EIGHT * bits, bits)
        store_affine(values, i, levels, np.float32(stated[LOWEST]), factors, terms)


@njit(forceinline=True)
def _level(packed: Any, i: int, bits: int) -> Any:
    at, shift = i * bits // EIGHT, i * bits % EIGHT
    word = np.int64(byte_at(packed, at))
    if shift + bits > EIGHT:
        word |= np.int64(byte_at(packed, at + 1)) << EIGHT
    return (word >> shift) & ((np.int64(1) << bits) - 1)


@njit(forceinline=True)
def _value(kind: int, packed: Any, i: int, stated: Any, table: Any, factor: Any, term: Any) -> Any:
    """A single value: no byte is read that is not its own."""
    if kind >= ENTRIES:
        level = _level(packed, i ^ (kind == ENTRIES_HIGH_FIRST), stated[BITS])
        return carray(table, (ALL_ENTRIES,))[FACTOR_ENTRIES + level] * factor
    level = _level(packed, i, stated[BITS]) ^ stated[FLIP]
    return (np.float32(level) + np.float32(stated[LOWEST])) * factor + term


@njit(forceinline=True)
def _in_vectors(dims: int, stated: Any, row_bytes: int) -> Any:
    """How many values of a row are set 32 at a time: of groups of 16 or of whole vectors, within the row."""
    bits, group, step = stated[BITS], stated[GROUP], max(stated[GROUP], LEVELS)
    if group != HALF and group % LEVELS:
        return 0
    whole = dims // step * step
    while whole > 0 and whole // EIGHT * bits - bits + EIGHT > row_bytes:
        whole -= step
    return whole


@njit(forceinline=True)
def _set_vectors(
    kind: int, dtype: int, packed: Any, values: Any, whole: int, start: Any, stated: Any, table: Any
) -> None:
    """Set the first values of a row. kind, dtype: literals. start: of factors, and of terms."""
    step, at = max(stated[GROUP], LEVELS), 0
    for first in range(0, whole, step):
        factors, terms = _pair(dtype, packed, start[0] + at, stated, table), (no_term(), no_term())
        if stated[TERMS]:
            terms = _pair(dtype, packed, start[1] + at, stated, table)
        for i in range(first, first + step, LEVELS):
            _store(kind, packed, values, i, stated, table, factors, terms)
        at += _factor_bytes(dtype) * (2 if stated[GROUP] == HALF else 1)


@njit(forceinline=True)
def _set_rest(
    kind: int, packed: Any, values: Any, first: int, dims: int, start: Any, stated: Any, table: Any
) -> None:
    """Set the values of a row from `first` on; other arguments as in `_set_vectors`."""
    rest, dtype, divisor = carray(values, (dims,)), stated[DTYPE], stated[DIVISOR]
    for i in range(first, dims):
        at = i // stated[GROUP] * _factor_bytes(dtype)
        factor, term = first_of(_factor(dtype, packed, start[0] + at, divisor, table)), np.float32(-0.0)
        if stated[TERMS]:
            term = first_of(_factor(dtype, packed, start[1] + at, divisor, table))
        rest[i] = _value(kind, packed, i, stated, table, factor, term)


@njit(forceinline=True)
def _decode(kind: int, packed: Any, values: Any, dims: int, numbers: Any, table: Any) -> None:
    """number · factor of its group, of integers + its term. kind: a literal; each has a loop of its own."""
    stated = _stated(carray(numbers, (len(STATED),)))
    factors = dims // EIGHT * stated[BITS]
    terms = factors + dims // stated[GROUP] * _factor_bytes(stated[DTYPE])
    whole, start = _in_vectors(dims, stated, terms + (terms - factors) * stated[TERMS]), (factors, terms)
    if stated[DTYPE] == BFLOAT16:
        _set_vectors(kind, BFLOAT16, packed, values, whole, start, stated, table)
    elif stated[DTYPE] == FLOAT16:
        _set_vectors(kind, FLOAT16, packed, values, whole, start, stated, table)
    elif stated[DTYPE] == FLOAT32:
        _set_vectors(kind, FLOAT32, packed, values, whole, start, stated, table)
    else:
        _set_vectors(kind, BY_TABLE, packed, values, whole, start, stated, table)
    _set_rest(kind, packed, values, whole, dims, start, stated, table)


def integers_4(packed: Any, values: Any, dims: int, numbers: Any, table: Any) -> None:
    _decode(INTEGERS_4, packed, values, dims, numbers, table)


def integers_8(packed: Any, values: Any, dims: int, numbers: Any, table: Any) -> None:
    _decode(INTEGERS_8, packed, values, dims, numbers, table)


def integers(packed: Any, values: Any, dims: int, numbers: Any, table: Any) -> None:
    _decode(INTEGERS, packed, values, dims, numbers, table)


def entries(packed: Any, values: Any, dims: int, numbers: Any, table: Any) -> None:
    _decode(ENTRIES, packed, values, dims, numbers, table)


def entries_high_first(packed: Any, values: Any, dims: int, numbers: Any, table: Any) -> None:
    _decode(ENTRIES_HIGH_FIRST, packed, values, dims, numbers, table)


def e4m3(packed: Any, values: Any, dims: int, numbers: Any, table: Any) -> None:
    _decode(E4M3, packed, values, dims, numbers, table)


def look_up(packed: Any, values: Any, dims: int, _numbers: Any, table: Any) -> None:
    """The entry of each byte. Arguments as in `row_loops`."""
    looked_up, stored = carray(table, (FACTOR_ENTRIES,)), carray(values, (dims,))
    for i in range(dims):
        stored[i] = looked_up[np.int64(byte_at(packed, i))]
