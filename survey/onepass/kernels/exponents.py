"""The exponents of many elements, counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled, njit
from survey.onepass.kernels.vectors import WORDS
from survey.onepass.kernels.word_vectors import (
    add_bit,
    add_words,
    bit_count,
    carry_bits,
    load_words,
    lowest_bit,
    negative_words,
    one_hot,
    or_words,
    store_words,
    sum_bits,
    upper_of_32,
    upper_of_64,
    zero_words,
)

LEVELS = (
    15  # neighbouring exponents that are counted side by side, a bit for each; the 16th bit is all others
)
TERMS = 16  # vectors that are added up at once
STRETCH = TERMS * WORDS  # elements
COUNTER_ROUNDS = 512  # stretches until the counters are emptied
MANY_OTHERS = 32  # of a stretch's elements: then a new top is chosen for the next
# Counters: of 4 bits that lie across words, of elements and of what sixteen of these carried; the latest
# carries; and of 16 bits, of each level.
ONES, SIXTEENS, CARRIES, LEVEL_ROWS = 0, 4, 8, 8 + TERMS
COUNTERS = (LEVEL_ROWS + LEVELS) * WORDS

Words = NDArray[np.unsignedinteger]
UInt16s = NDArray[np.uint16]
Counts = NDArray[np.int64]


@njit()
def _exponent_fields(upper: Words, stride: int, mask: np.uint16, fields: UInt16s) -> None:
    """The exponents of a stretch of elements, left at their position in the upper 16 bits (little-endian)."""
    if stride == 1:  # of 8 or 16 bits; a stride that is a literal makes vectors
        for i in range(STRETCH):
            fields[i] = upper[i] & mask
    elif stride == 2:
        for start in range(0, STRETCH, WORDS):
            store_words(fields, start, upper_of_32(upper, 2 * start, mask))
    else:
        for start in range(0, STRETCH, WORDS):
            store_words(fields, start, upper_of_64(upper, 4 * start, mask))


@njit()
def _largest(fields: UInt16s) -> np.uint16:
    largest = np.uint16(0)
    for i in range(fields.size):  # by index, which makes vectors
        largest = max(largest, fields[i])
    return largest


@njit(inline="always")
def _added(a: Any, b: Any, c: Any) -> Any:
    """A full adder for each bit: the sum, and the carry."""
    return sum_bits(a, b, c), carry_bits(a, b, c)


def _adding(term: Callable[..., Any]) -> Any:
    """A loop that adds 16 vectors of bits to counters of 4 bits; it returns what these carry, and all bits.

    The counters lie across words: each word of 4 vectors, [4 · WORDS], holds 16 counters, a bit of each in
    every vector (a positional population count; W. Muła, N. Kurz and D. Lemire, "Faster population counts
    using AVX2 instructions", 2018).
    """
    of = njit(inline="always")(term)

    @njit(inline="always")
    def add_eight(words: UInt16s, first: int, scale: Any, ones: Any, twos: Any, fours: Any) -> Any:
        a, b = of(words, first, scale), of(words, first + 1, scale)
        c, d = of(words, first + 2, scale), of(words, first + 3, scale)
        every = or_words(or_words(a, b), or_words(c, d))
        ones, carry = _added(ones, a, b)
        ones, other_carry = _added(ones, c, d)
        twos, pair = _added(twos, carry, other_carry)
        a, b = of(words, first + 4, scale), of(words, first + 5, scale)
        c, d = of(words, first + 6, scale), of(words, first + 7, scale)
        every = or_words(every, or_words(or_words(a, b), or_words(c, d)))
        ones, carry = _added(ones, a, b)
        ones, other_carry = _added(ones, c, d)
        twos, other_pair = _added(twos, carry, other_carry)
        fours, carried = _added(fours, pair, other_pair)
        return ones, twos, fours, carried, every

    @njit(inline="always")
    def add(words: UInt16s, scale: Any, sums: UInt16s) -> Any:
        ones, twos = load_words(sums, 0), load_words(sums, WORDS)
        fours, eights = load_words(sums, 2 * WORDS), load_words(sums, 3 * WORDS)
        ones, twos, fours, carried, every = add_eight(words, 0, scale, ones, twos, fours)
        ones, twos, fours, other_carried, others = add_eight(words, 8, scale, ones, twos, fours)
        eights, carried = _added(eights, carried, other_carried)
        store_words(sums, 0, ones)
        store_words(sums, WORDS, twos)
        store_words(sums, 2 * WORDS, fours)
        store_words(sums, 3 * WORDS, eights)
        return carried, or_words(every, others)

    return add


def _level_of(fields: UInt16s, index: int, scale: Any) -> Any:
    """scale: the top, the lowest level, and the bits of the mantissa."""
    return one_hot(load_words(fields, index * WORDS), scale[0], scale[1], scale[2])


def _word(words: UInt16s, index: int, _scale: None) -> Any:
    return load_words(words, index * WORDS)


_add_levels, _add_words = _adding(_level_of), _adding(_word)


@njit()
def _add_to_counters(words: UInt16s, levels: UInt16s) -> None:
    """Add the bits of 32 words to counters of 16 bits, [LEVELS · WORDS]."""
    bits = load_words(words, 0)
    for level in range(LEVELS):
        at = level * WORDS
        store_words(levels, at, add_bit(load_words(levels, at), bits, np.uint16(level)))


@njit()
def _sum_of(words: UInt16s) -> int:
    total = np.uint32(0)
    for i in range(words.size):
        total = np.uint32(total + words[i])
    return int(total)


@njit()
def empty_counters(counters: UInt16s, state: Counts, mantissa_bits: int, counts: Counts) -> None:
    """Move all counters to the counts of exponents; the next stretch chooses a new top."""
    top, rounds = state[0] >> mantissa_bits, state[1]
    if rounds == 0:
        return
    lanes = np.empty(WORDS, np.uint16)
    for level in range(LEVELS):
        bit = np.uint16(level)
        total = load_words(counters, (LEVEL_ROWS + level) * WORDS)
        for power in range(3, -1, -1):
            total = add_bit(add_words(total, total), load_words(counters, (SIXTEENS + power) * WORDS), bit)
        for row in range(rounds % TERMS):
            total = add_bit(total, load_words(counters, (CARRIES + row) * WORDS), bit)
        for power in range(3, -1, -1):
            total = add_bit(add_words(total, total), load_words(counters, (ONES + power) * WORDS), bit)
        store_words(lanes, 0, total)
        count = _sum_of(lanes)
        if count:
            counts[top - level] += count
    counters[: CARRIES * WORDS] = np.uint16(0)
    counters[LEVEL_ROWS * WORDS :] = np.uint16(0)
    state[1] = 0


@njit()
def _count_others(
    fields: UInt16s, top: np.uint16, lowest: np.uint16, mantissa_bits: int, counts: Counts
) -> int:
    """Count the exponents that are below all levels or above them; return how many of them are not 0."""
    others, shift = 0, np.uint16(mantissa_bits)
    for start in range(0, STRETCH, WORDS):
        words = load_words(fields, start)
        bits = negative_words(one_hot(words, top, lowest, shift))
        if bits:
            zeros = bits & zero_words(words)
            counts[0] += bit_count(zeros)
            bits = np.uint32(bits ^ zeros)
            others += bit_count(bits)
            while bits:
                counts[fields[start + lowest_bit(bits)] >> mantissa_bits] += 1
                bits = np.uint32(bits & (bits - np.uint32(1)))
    return others


@njit()
def add_exponents(
    upper: Words,
    stride: int,
    mantissa_bits: int,
    counts: Counts,
    counters: UInt16s,
    state: Counts,
    fields: UInt16s,
) -> None:
    """As `count_exponents`, but most stay in the counters, [COUNTERS], until they are emptied.

    state: the top, and the stretches since it was chosen, [2]. fields: a buffer, [STRETCH].
    """
    mask, one_level = np.uint16((len(counts) - 1) << mantissa_bits), np.uint16(1 << mantissa_bits)
    lowest, shift = np.uint16(LEVELS << mantissa_bits), np.uint16(mantissa_bits)
    stretch_words = STRETCH * stride
    whole_words = upper.size // stretch_words * stretch_words
    sums, sixteens = counters[ONES * WORDS :], counters[SIXTEENS * WORDS :]
    carries, levels = counters[CARRIES * WORDS :], counters[LEVEL_ROWS * WORDS :]
    top, rounds = np.uint16(state[0]), state[1]
    for start in range(0, whole_words, stretch_words):
        _exponent_fields(upper[start : start + stretch_words], stride, mask, fields)
        if rounds == 0:
            top = np.uint16(_largest(fields) + one_level)  # the next stretches' may be a little larger
        carry, every = _add_levels(fields, (top, lowest, shift), sums)
        store_words(carries, rounds % TERMS * WORDS, carry)
        rounds += 1
        if rounds % TERMS == 0:
            carry, _ = _add_words(carries, None, sixteens)
            store_words(carries, 0, carry)
            _add_to_counters(carries, levels)
        others = _count_others(fields, top, lowest, mantissa_bits, counts) if negative_words(every) else 0
        if rounds == COUNTER_ROUNDS or others > MANY_OTHERS:  # the exponents have changed
            state[0], state[1] = top, rounds
            empty_counters(counters, state, mantissa_bits, counts)
            rounds = 0
    state[0], state[1] = top, rounds
    for i in range(whole_words + stride - 1, upper.size, stride):
        counts[(upper[i] & mask) >> mantissa_bits] += 1


@compiled
def count_exponents(upper: Words, stride: int, mantissa_bits: int, counts: Counts) -> None:
    """Add the biased exponents of N elements to counts [exponent values].

    upper: words of 8 or 16 bits, [N · stride], of which every stride-th holds sign, exponent and
    `mantissa_bits` more. Nearly all exponents of a matrix are 0 or one of LEVELS neighbours below a top
    exponent. They are counted with SIMD: each is a bit of a word of 16, and counters lie across words, so
    that a full adder takes a vector of words in two instructions. The top is chosen anew when the counters
    are emptied, or if it did not fit a stretch.
    """
    counters, state = np.zeros(COUNTERS, np.uint16), np.zeros(2, np.int64)
    add_exponents(upper, stride, mantissa_bits, counts, counters, state, np.empty(STRETCH, np.uint16))
    empty_counters(counters, state, mantissa_bits, counts)
