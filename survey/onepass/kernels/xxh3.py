"""xxh3-128 of many rows in one loop.

The `xxhash` library hashes one row in a call and holds the GIL meanwhile, for which the threads that sum
would wait. This follows its specification (Y. Collet, "xxHash fast digest algorithm", version 0.2.0, XXH3 of
large inputs), for rows of more than 240 bytes; the library hashes shorter ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled, njit
from survey.onepass.kernels.stripe_vectors import (
    add_halves_product,
    add_stripes,
    load_stripe,
    no_words,
    scrambled,
    store_stripe,
    swap_neighbours,
)

Bytes = NDArray[np.uint8]
HashWords = NDArray[np.uint64]

LANES = 8  # of 64 bits: a stripe
WORD_BYTES, STRIPE_BYTES = 8, 64
BLOCK_STRIPES = 16
BLOCK_BYTES = BLOCK_STRIPES * STRIPE_BYTES

XXH3_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
PRIME32_1, PRIME32_2, PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PRIME64_1, PRIME64_2, PRIME64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
PRIME64_4, PRIME64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _secret_words(start: int, count: int = LANES) -> HashWords:
    return np.frombuffer(XXH3_SECRET, dtype="<u8", count=count, offset=start).astype(np.uint64)


START = np.array(
    [PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1], dtype=np.uint64
)
BLOCK_KEYS = np.concatenate([_secret_words(8 * stripe) for stripe in range(BLOCK_STRIPES)])
LAST_KEYS = _secret_words(len(XXH3_SECRET) - 64 - 7)
SCRAMBLE_KEYS = _secret_words(len(XXH3_SECRET) - 64)
LOW_KEYS, HIGH_KEYS = _secret_words(11), _secret_words(len(XXH3_SECRET) - 64 - 11)
LOW_START, HIGH_START, SCRAMBLE = np.uint64(PRIME64_1), np.uint64(PRIME64_2), np.uint64(PRIME32_1)
AVALANCHE = np.uint64(0x165667919E3779F9)
HALF, LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)


@njit(inline="always")
def _add(row: Bytes, first: int, stop: int, products: Any, plain: Any) -> Any:
    """Add the stripes of the bytes [first, stop), each with its keys; sums of products, and of words."""
    for at in range(first, stop, STRIPE_BYTES):
        stripe = load_stripe(row, at)
        products = add_halves_product(products, stripe, load_stripe(BLOCK_KEYS, (at - first) // WORD_BYTES))
        plain = add_stripes(plain, stripe)
    return products, plain


@njit(inline="always")
def _closed(state: Any, products: Any, plain: Any) -> Any:
    """The state after a block: plain words go to the neighbouring lane."""
    return add_stripes(add_stripes(state, products), swap_neighbours(plain))


@njit()
def _folded_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """The two halves of the 128-bit product a·b, combined by exclusive or."""
    low, high = (a & LOWER) * (b & LOWER), (a >> HALF) * (b >> HALF)
    high_low, low_high = (a >> HALF) * (b & LOWER), (a & LOWER) * (b >> HALF)
    middle = (low >> HALF) + (high_low & LOWER) + low_high
    return ((high_low >> HALF) + (middle >> HALF) + high) ^ ((middle << HALF) | (low & LOWER))


@njit()
def _merged(state: HashWords, keys: HashWords, start: np.uint64) -> np.uint64:
    """Half a digest from the state, [LANES]."""
    digest = start
    for i in range(0, LANES, 2):
        digest += _folded_product(state[i] ^ keys[i], state[i + 1] ^ keys[i + 1])
    digest ^= digest >> np.uint64(37)
    digest *= AVALANCHE
    return digest ^ (digest >> HALF)


@compiled
def hash_rows(rows: Bytes, digests: HashWords) -> None:
    """Set digests [R, 2] to the xxh3-128 of the first R rows [·, N] of N > 240 bytes: high half, low half."""
    row_bytes = rows.shape[1]
    length = np.uint64(row_bytes)
    rest = (row_bytes - 1) // BLOCK_BYTES * BLOCK_BYTES  # the last block is closed in another way
    last = rest + (row_bytes - 1 - rest) // STRIPE_BYTES * STRIPE_BYTES
    lanes = np.empty(LANES, np.uint64)
    for r in range(len(digests)):
        row, state = rows[r], load_stripe(START, 0)
        for start in range(0, rest, BLOCK_BYTES):
            products, plain = _add(row, start, start + BLOCK_BYTES, no_words(), no_words())
            state = scrambled(_closed(state, products, plain), load_stripe(SCRAMBLE_KEYS, 0), SCRAMBLE)
        products, plain = _add(row, rest, last, no_words(), no_words())
        stripe = load_stripe(row, row_bytes - STRIPE_BYTES)  # it may overlap the one before
        products = add_halves_product(products, stripe, load_stripe(LAST_KEYS, 0))
        store_stripe(lanes, 0, _closed(state, products, add_stripes(plain, stripe)))
        digests[r, 0] = _merged(lanes, HIGH_KEYS, ~(length * HIGH_START))
        digests[r, 1] = _merged(lanes, LOW_KEYS, length * LOW_START)
