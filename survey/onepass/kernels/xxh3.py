"""xxh3-128 of many rows in one loop.

The `xxhash` library hashes one row in a call and holds the GIL meanwhile, for which the threads that sum
would wait. This follows its specification (Y. Collet, "xxHash fast digest algorithm", version 0.2.0, XXH3 of
large inputs), for rows of more than 240 bytes in whole words of 64 bits; the library hashes all other rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import compiled, njit

HashWords = NDArray[np.uint64]

LANES = 8  # of 64 bits: a stripe
BLOCK_STRIPES = 16
BLOCK_WORDS = BLOCK_STRIPES * LANES
WIDE = 4 * LANES  # words that are added side by side: as many as keep wide vectors busy

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


@njit()
def _add(words: HashWords, keys: HashWords, products: HashWords, plain: HashWords) -> None:
    """Add whole stripes and their keys, [8·S] each, to the sums of products and of plain words, [WIDE]."""
    whole = words.size // WIDE * WIDE
    for start in range(0, whole, WIDE):
        for i in range(WIDE):
            word = words[start + i]
            keyed = word ^ keys[start + i]
            products[i] += (keyed & LOWER) * (keyed >> HALF)
            plain[i] += word
    for i in range(words.size - whole):
        word = words[whole + i]
        keyed = word ^ keys[whole + i]
        products[i] += (keyed & LOWER) * (keyed >> HALF)
        plain[i] += word


@njit()
def _close(state: HashWords, products: HashWords, plain: HashWords) -> None:
    """Add the lanes' sums to the state, [LANES], and clear them; plain words go to the neighbouring lane."""
    for i in range(LANES):
        state[i] += (products[i] + products[8 + i]) + (products[16 + i] + products[24 + i])
        state[i ^ 1] += (plain[i] + plain[8 + i]) + (plain[16 + i] + plain[24 + i])
    products[:] = np.uint64(0)
    plain[:] = np.uint64(0)


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
def hash_rows(rows: HashWords, digests: HashWords) -> None:
    """Set digests [R, 2] to the xxh3-128 of rows [R, N] of N > 30 words: the high half and the low one."""
    words, length = rows.shape[1], np.uint64(8 * rows.shape[1])
    blocks = (words - 1) // BLOCK_WORDS  # the last one is closed in another way
    rest = blocks * BLOCK_WORDS
    last = rest + (words - 1 - rest) // LANES * LANES
    products, plain = np.zeros(WIDE, np.uint64), np.zeros(WIDE, np.uint64)
    state = np.empty(LANES, np.uint64)
    for r in range(rows.shape[0]):
        row = rows[r]
        for i in range(LANES):  # numba takes 2 s to compile an assignment of the whole
            state[i] = START[i]
        for start in range(0, rest, BLOCK_WORDS):
            _add(row[start : start + BLOCK_WORDS], BLOCK_KEYS, products, plain)
            _close(state, products, plain)
            for i in range(LANES):
                state[i] = (state[i] ^ (state[i] >> np.uint64(47)) ^ SCRAMBLE_KEYS[i]) * SCRAMBLE
        _add(row[rest:last], BLOCK_KEYS, products, plain)
        _add(row[words - LANES :], LAST_KEYS, products, plain)
        _close(state, products, plain)
        digests[r, 0] = _merged(state, HIGH_KEYS, ~(length * HIGH_START))
        digests[r, 1] = _merged(state, LOW_KEYS, length * LOW_START)
