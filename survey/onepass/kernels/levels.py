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
# What a type states: how levels are numbers; their bits; the elements of a group; the dtype of factors, and
# what divides them; whether groups have terms; the lowest level; bits of levels that are flipped (the sign,
# so that signed bytes begin with the lowest); the bit of a byte at which the first of its levels begins.
STATED = ("numbers", "bits", "group", "dtype", "divisor", "terms", "lowest", "flip", "first_bit")
NUMBERS, BITS, GROUP, DTYPE, DIVISOR, TERMS, LOWEST, FLIP, FIRST_BIT = range(len(STATED))
INTEGERS, ENTRIES, E4M3 = range(3)  # numbers
BY_TABLE, FLOAT16, BFLOAT16, FLOAT32 = range(4)  # dtypes; bytes that stand for an entry of the table
FACTOR_ENTRIES, ALL_ENTRIES = 256, 512  # of the table: of factors, and of levels behind them


@njit(inline="always")
def _stated(numbers: Any) -> Any:
    """As a tuple, whose items stay in registers: for all the compiler knows, values may lie over numbers."""
    return (
        numbers[0],
        numbers[1],
        numbers[2],
        numbers[3],
        numbers[4],
        numbers[5],
        numbers[6],
        numbers[7],
        numbers[8],
    )


@njit(inline="always")
def _factor_bytes(stated: Any) -> int:
    return 4 if stated[DTYPE] == FLOAT32 else 1 if stated[DTYPE] == BY_TABLE else 2


@njit(inline="always")
def _factor(packed: Any, at: int, stated: Any, table: Any) -> Any:
    """The factor that begins at a byte."""
    dtype = stated[DTYPE]
    if dtype == FLOAT16:
        return float16_at(packed, at)
    if dtype == BFLOAT16:
        return bfloat16_at(packed, at)
    if dtype == FLOAT32:
        factor = float32_at(packed, at)
        return factor if stated[DIVISOR] == 1 else divided(factor, stated[DIVISOR])
    return float32_at(table, np.intp(byte_at(packed, at)))


@njit(inline="always")
def _pair(packed: Any, at: int, stated: Any, table: Any) -> Any:
    """The factors of both halves of a vector."""
    first = _factor(packed, at, stated, table)
    if stated[GROUP] == HALF:
        return first, _factor(packed, at + _factor_bytes(stated), stated, table)
    return first, first


@njit(inline="always")
def _store(packed: Any, values: Any, i: int, stated: Any, table: Any, factors: Any, terms: Any) -> None:
    """Set 32 values."""
    bits, first_bit = stated[BITS], np.uint8(stated[FIRST_BIT])
    if stated[NUMBERS] == ENTRIES:
        store_entries(values, i, load_nibbles(packed, i // 2, first_bit), table, FACTOR_ENTRIES, factors)
    elif stated[NUMBERS] == E4M3:
        store_e4m3(values, i, load_levels(packed, i), factors)
    else:
        if bits == 8:
            levels = flipped(load_levels(packed, i), np.uint8(stated[FLIP]))
        elif bits == 4:
            levels = load_nibbles(packed, i // 2, first_bit)
        else:
            levels = load_narrow(packed, i // EIGHT * bits, bits)
        store_affine(values, i, levels, np.float32(stated[LOWEST]), factors, terms)


@njit(inline="always")
def _level(packed: Any, i: int, bits: int) -> Any:
    at, shift = i * bits // EIGHT, i * bits % EIGHT
    word = np.int64(byte_at(packed, at))
    if shift + bits > EIGHT:
        word |= np.int64(byte_at(packed, at + 1)) << EIGHT
    return (word >> shift) & ((np.int64(1) << bits) - 1)


@njit(inline="always")
def _value(packed: Any, i: int, stated: Any, table: Any, factor: Any, term: Any) -> Any:
    """A single value: no byte is read that is not its own."""
    if stated[NUMBERS] != INTEGERS:
        level = _level(packed, i ^ (stated[FIRST_BIT] != 0), stated[BITS])
        return carray(table, (ALL_ENTRIES,))[FACTOR_ENTRIES + level] * factor
    level = _level(packed, i, stated[BITS]) ^ stated[FLIP]
    return (np.float32(level) + np.float32(stated[LOWEST])) * factor + term


@njit(inline="always")
def _in_vectors(dims: int, stated: Any, row_bytes: int) -> Any:
    """How many values of a row are set 32 at a time: of groups of 16 or of whole vectors, within the row."""
    bits, group, step = stated[BITS], stated[GROUP], max(stated[GROUP], LEVELS)
    if group != HALF and group % LEVELS:
        return 0
    whole = dims // step * step
    while whole > 0 and whole // EIGHT * bits - bits + EIGHT > row_bytes:
        whole -= step
    return whole


def decode_levels(packed: Any, values: Any, dims: int, numbers: Any, table: Any) -> None:
    """number · factor of its group, of integers + its term. Arguments as in `row_loops`."""
    stated = _stated(carray(numbers, (len(STATED),)))
    group, stored_bytes, factors = stated[GROUP], _factor_bytes(stated), dims // EIGHT * stated[BITS]
    terms = factors + dims // group * stored_bytes
    row_bytes = terms + (terms - factors) * stated[TERMS]
    whole, step, at = _in_vectors(dims, stated, row_bytes), max(group, LEVELS), 0
    for start in range(0, whole, step):
        factor, term = _pair(packed, factors + at, stated, table), (no_term(), no_term())
        if stated[TERMS]:
            term = _pair(packed, terms + at, stated, table)
        for i in range(start, start + step, LEVELS):
            _store(packed, values, i, stated, table, factor, term)
        at += step // group * stored_bytes
    rest = carray(values, (dims,))
    for i in range(whole, dims):
        at = i // group * stored_bytes
        single, added = first_of(_factor(packed, factors + at, stated, table)), np.float32(-0.0)
        if stated[TERMS]:
            added = first_of(_factor(packed, terms + at, stated, table))
        rest[i] = _value(packed, i, stated, table, single, added)


def look_up(packed: Any, values: Any, dims: int, _numbers: Any, table: Any) -> None:
    """The entry of each byte. Arguments as in `row_loops`."""
    looked_up, stored = carray(table, (FACTOR_ENTRIES,)), carray(values, (dims,))
    for i in range(dims):
        stored[i] = looked_up[np.int64(byte_at(packed, i))]
