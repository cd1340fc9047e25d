"""In which other dtypes the values of a row are exact, and the hash of the row's bytes in the first of them.

A row's form is the first of bfloat16, float16 and float32 in which all its values are exact. `held` is of all
rows of a slab: bits of further dtypes that hold all their values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.onepass.geometry import GROUP_ROWS, QUAD_ROWS
from survey.onepass.kernels.exponents import UInt16s
from survey.onepass.kernels.jit import compiled, njit
from survey.onepass.kernels.narrow import (
    EIGHT_BITS,
    HOLDS_F16,
    STEP,
    UInt32s,
    held_in_eight_bits,
    is_normal_in_float16,
    may_lack,
    set_halves,
    set_narrow,
    set_singles,
    set_upper_halves,
)
from survey.onepass.kernels.row_loops import Bytes
from survey.onepass.kernels.vectors import WORDS
from survey.onepass.kernels.word_vectors import load_words, store_words
from survey.onepass.kernels.xxh3 import HashWords, hash_rows

NO_FORM, BF16, F16, F32 = np.uint8(0), np.uint8(1), np.uint8(2), np.uint8(4)
SINGLES = WORDS // 2  # in a vector
BELOW_BF16, BELOW_F16 = np.uint32(0xFFFF), np.uint32(0x1FFF)  # bits of float32


@njit()
def narrow_singles(
    words: UInt32s, all_upper: bool, narrow: UInt16s, halves: UInt16s, forms: Bytes, held: Bytes
) -> None:
    """Set forms [R] of rows of float32, words [≥ R, D], and the rows in these forms.

    narrow: as bfloat16, [≥ R, D]; the upper halves of all rows if `all_upper`. halves: as float16, if that
    is their form. held: less what is not true of these rows, [1].
    """
    added = np.empty(STEP, np.float32)
    for r in range(len(forms)):
        row = words[r]
        if (all_upper or may_lack(row, BELOW_BF16)) and set_upper_halves(row, narrow[r]):
            forms[r], held[0] = BF16, held_in_eight_bits(narrow[r], held[0])
            # One row that float16 does not hold is enough; most rows of models have such values.
            is_open = held[0] & HOLDS_F16 and not is_normal_in_float16(narrow[r])
            if is_open and not set_halves(row, added, halves[r]):
                held[0] &= ~HOLDS_F16
        elif may_lack(row, BELOW_F16) and set_halves(row, added, halves[r]):
            forms[r], held[0] = F16, held[0] & HOLDS_F16
        else:
            forms[r], held[0] = NO_FORM, 0


@njit()
def _narrow_doubles(
    words: HashWords, singles: UInt32s, narrow: UInt16s, halves: UInt16s, forms: Bytes, held: Bytes
) -> None:
    """As `narrow_singles`, of float64; singles: as float32."""
    for r in range(len(forms)):
        if set_singles(words[r], singles[r]):
            narrow_singles(singles[r : r + 1], False, narrow[r:], halves[r:], forms[r : r + 1], held)
            if forms[r] == NO_FORM:
                forms[r] = F32
        else:
            forms[r], held[0] = NO_FORM, 0


@njit()
def _narrow_halves(words: UInt16s, narrow: UInt16s, forms: Bytes, held: Bytes) -> None:
    """As `narrow_singles`, of float16."""
    small = np.empty(STEP, np.float32)
    for r in range(len(forms)):
        if set_narrow(words[r], small, narrow[r]):
            forms[r], held[0] = BF16, held_in_eight_bits(narrow[r], held[0])
        else:
            forms[r], held[0] = F16, held[0] & HOLDS_F16


@njit()
def _narrow_codes(codes: Bytes, table: UInt16s, narrow: UInt16s, forms: Bytes) -> None:
    """As `narrow_singles`, of words of 8 bits. table: all of them as bfloat16, [256]."""
    for r in range(len(forms)):
        row, kept = codes[r], narrow[r]
        forms[r] = BF16
        for d in range(row.size):
            kept[d] = table[row[d]]


@njit()
def hash_forms(forms: Bytes, form: np.uint8, stored: Bytes, digests: HashWords, hashes: HashWords) -> None:
    """Set the hashes [R] of rows of this form, stored [≥ R, ·] in bytes. digests: a buffer, [≥ R, 2]."""
    start, count = 0, len(forms)
    while start < count:
        stop = start
        while stop < count and forms[stop] == form:
            stop += 1
        if stop > start:
            hash_rows(stored[start:stop], digests[start:stop])
            for r in range(start, stop):
                hashes[r] = digests[r, 1]
        start = max(stop, start + 1)


@njit()
def name_group(words: UInt32s, first: int, is_counted: bool, buffers: Any, named: Any) -> bool:
    """Name the values of a group of rows of float32 from `first` on; whether their upper halves are set.

    buffers: narrow, its bytes, the same in one row, halves, their bytes, singles. named: as in `fold_rows`.
    They are if exponents are counted, and the first row may be bfloat16: these are then half the bytes.
    """
    narrow, narrow_bytes, _, halves, half_bytes, _ = buffers
    forms, hashes, held = named
    group = slice(first, first + GROUP_ROWS)
    rows, here, their_hashes = words[group], forms[group], hashes[group]
    all_upper = is_counted and may_lack(rows[0], BELOW_BF16)
    narrow_singles(rows, all_upper, narrow, halves, here, held)
    if all_upper:
        for r in range(len(here), GROUP_ROWS):  # zeros, after the last row
            set_upper_halves(rows[r], narrow[r])
    if narrow_bytes.size:
        digests = np.empty((GROUP_ROWS, 2), np.uint64)
        hash_forms(here, BF16, narrow_bytes, digests, their_hashes)
        hash_forms(here, F16, half_bytes, digests, their_hashes)
    return all_upper


@njit()
def _copy_words(source: UInt32s, target: UInt32s) -> None:
    """In vectors: the compiler makes none, as for all it knows the words of a decoded row lie apart."""
    whole = len(target) // SINGLES * SINGLES
    for d in range(0, whole, SINGLES):
        store_words(target, d, load_words(source, d))
    for d in range(whole, len(target)):
        target[d] = source[d]


@njit()
def name_decoded(values: NDArray[np.float32], r: int, buffers: Any, named: Any) -> None:
    """Name decoded rows, values [QUAD_ROWS, D], the first of which is row r. buffers, named: as above.

    Of most quantised rows no more is read than their first values.
    """
    narrow, narrow_bytes, _, halves, half_bytes, singles = buffers
    forms, hashes, held = named
    words, here, their_hashes = values.view(np.uint32), forms[r : r + QUAD_ROWS], hashes[r : r + QUAD_ROWS]
    is_any = False
    for row in range(len(here)):
        here[row] = NO_FORM
        if may_lack(words[row], BELOW_F16):  # and so, if it lacks more
            is_any = True
            _copy_words(words[row], singles[row])
            one = slice(row, row + 1)
            narrow_singles(singles[one], False, narrow[one], halves[one], here[one], held)
        else:
            held[0] = 0
    if is_any and narrow_bytes.size:
        digests = np.empty((QUAD_ROWS, 2), np.uint64)
        hash_forms(here, BF16, narrow_bytes, digests, their_hashes)
        hash_forms(here, F16, half_bytes, digests, their_hashes)


@compiled
def name_rows(
    doubles: HashWords | None,
    floats: UInt32s | None,
    short: UInt16s | None,
    codes: Bytes | None,
    table: UInt16s,
    singles: UInt32s,
    single_bytes: Bytes,
    narrow: UInt16s,
    narrow_bytes: Bytes,
    halves: UInt16s,
    half_bytes: Bytes,
    forms: Bytes,
    hashes: HashWords,
    held: Bytes,
) -> None:
    """Set the forms [R] of rows [R, D], and the hashes [R] of those that are not stored in their form.

    One of the first four is given: words of float64, float32, float16, or of 8 bits, whose values as
    bfloat16 are in the table. singles, narrow, halves: buffers [GROUP_ROWS, D]; the same memory in bytes, or
    [GROUP_ROWS, 0] if loops do not hash such rows: then the buffers keep the only group. held: less what is
    not true of these rows, [1].
    """
    digests = np.empty((GROUP_ROWS, 2), np.uint64)
    for first in range(0, len(forms), GROUP_ROWS):
        group = slice(first, first + GROUP_ROWS)
        here, their_hashes = forms[group], hashes[group]
        if codes is not None:
            _narrow_codes(codes[group], table, narrow, here)
        elif short is not None:
            _narrow_halves(short[group], narrow, here, held)
        elif floats is not None:
            narrow_singles(floats[group], False, narrow, halves, here, held)
        elif doubles is not None:
            _narrow_doubles(doubles[group], singles, narrow, halves, here, held)
        if narrow_bytes.size:
            hash_forms(here, BF16, narrow_bytes, digests, their_hashes)
            if codes is None and short is None:
                hash_forms(here, F16, half_bytes, digests, their_hashes)
            if doubles is not None:
                hash_forms(here, F32, single_bytes, digests, their_hashes)


@compiled
def keep_eight_bits(narrow: UInt16s, held: Bytes) -> None:
    """Keep those formats of 8 bits in held [1] that hold all rows of bfloat16 [R, D]."""
    for r in range(narrow.shape[0]):
        held[0] = held_in_eight_bits(narrow[r], held[0])
        if not held[0] & EIGHT_BITS:
            return
