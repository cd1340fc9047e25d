"""xxh3-128 of rows that lie in the memory of a GPU: as survey/onepass/kernels/xxh3.py, bit for bit."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl
from numpy.typing import NDArray

from survey.onepass import kernels


def hash_constants(row_bytes: int) -> NDArray[np.int64]:
    """What `hash_rows` reads, [172]: start, keys (scramble, last stripe, high, low, block), four numbers."""
    xxh3 = kernels.xxh3
    mask, length = (1 << 64) - 1, row_bytes
    numbers = [
        int(xxh3.SCRAMBLE),
        int(xxh3.AVALANCHE),
        ~(length * int(xxh3.HIGH_START)) & mask,
        length * int(xxh3.LOW_START) & mask,
    ]
    parts = (xxh3.START, xxh3.SCRAMBLE_KEYS, xxh3.LAST_KEYS, xxh3.HIGH_KEYS, xxh3.LOW_KEYS, xxh3.BLOCK_KEYS)
    constants: NDArray[np.int64] = np.concatenate([*parts, np.array(numbers, dtype=np.uint64)]).view(np.int64)
    return constants


@triton.jit
def _keyed_words(words, row, present, at, whole, keys, ROWS: tl.constexpr, STRIPES: tl.constexpr):
    """What stripes of 8 words add to the state, [ROWS, 8]: words `at` + [0, 8 · STRIPES) that are < whole."""
    stripe, lane = tl.arange(0, STRIPES), tl.arange(0, 8)
    offset = at + stripe[:, None] * 8 + lane[None, :]
    there = present[:, None, None] & (offset < whole)[None, :, :]
    stored = tl.load(words + row[:, None, None] + offset[None, :, :], mask=there, other=0)
    key = tl.load(keys + stripe[:, None] * 8 + lane[None, :])
    keyed = (stored ^ key[None, :, :]).to(tl.uint64, bitcast=True)
    products = (keyed & 0xFFFFFFFF) * (keyed >> 32)
    # Plain words go to the neighbouring lane.
    other = at + stripe[:, None] * 8 + (lane ^ 1)[None, :]
    plain = tl.load(words + row[:, None, None] + other[None, :, :], mask=there, other=0)
    added = products + plain.to(tl.uint64, bitcast=True)
    return tl.sum(tl.where(there, added, 0), axis=1)


@triton.jit
def _folded_products(state, keys, ROWS: tl.constexpr):
    """Σ of the two halves of each 128-bit product of neighbours, combined by exclusive or, [ROWS]."""
    lane = tl.arange(0, 8)
    mixed = state ^ tl.load(keys + lane).to(tl.uint64, bitcast=True)[None, :]
    a, b = tl.split(tl.reshape(mixed, (ROWS, 4, 2)))
    low, high = (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF), (a >> 32) * (b >> 32)
    high_low, low_high = (a >> 32) * (b & 0xFFFFFFFF), (a & 0xFFFFFFFF) * (b >> 32)
    middle = (low >> 32) + (high_low & 0xFFFFFFFF) + low_high
    upper = (high_low >> 32) + (middle >> 32) + high
    return tl.sum(upper ^ ((middle << 32) | (low & 0xFFFFFFFF)), axis=1)


@triton.jit
def _avalanche(digests, multiplier):
    digests = (digests ^ (digests >> 37)) * multiplier
    return digests ^ (digests >> 32)


@triton.jit(do_not_specialize=["rows"])
def hash_rows(words, rows, row_words, constants, digests, ROWS: tl.constexpr):
    """The xxh3-128 of rows of more than 30 words of 64 bits: the high half and the low one, [R, 2].

    constants: `hash_constants`.
    """
    index = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    present, row = index < rows, index * row_words
    lane = tl.arange(0, 8)
    state = tl.load(constants + lane).to(tl.uint64, bitcast=True)[None, :]
    state = state + tl.zeros((ROWS, 8), tl.uint64)
    scramble_keys = tl.load(constants + 8 + lane).to(tl.uint64, bitcast=True)[None, :]
    block_keys, last_keys = constants + 40, constants + 16
    scramble = tl.load(constants + 168).to(tl.uint64, bitcast=True)
    blocks = (row_words - 1) // 128  # the last one is closed in another way
    for block in range(blocks):
        state += _keyed_words(words, row, present, block * 128, row_words, block_keys, ROWS, 16)
        state = (state ^ (state >> 47) ^ scramble_keys) * scramble
    rest = blocks * 128
    last = rest + (row_words - 1 - rest) // 8 * 8
    state += _keyed_words(words, row, present, rest, last, block_keys, ROWS, 16)
    state += _keyed_words(words, row, present, row_words - 8, row_words, last_keys, ROWS, 1)
    multiplier = tl.load(constants + 169).to(tl.uint64, bitcast=True)
    high_start = tl.load(constants + 170).to(tl.uint64, bitcast=True)
    low_start = tl.load(constants + 171).to(tl.uint64, bitcast=True)
    high = _avalanche(high_start + _folded_products(state, constants + 24, ROWS), multiplier)
    low = _avalanche(low_start + _folded_products(state, constants + 32, ROWS), multiplier)
    tl.store(digests + index * 2, high.to(tl.int64, bitcast=True), mask=present)
    tl.store(digests + index * 2 + 1, low.to(tl.int64, bitcast=True), mask=present)
