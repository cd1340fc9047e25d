"""Rows by their xxh3-128: the library's digests, and the rows that Python's dictionary finds again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest
import xxhash

from survey.errors import UsageError
from survey.onepass.kernels.first_seen import find_first
from survey.onepass.row_identity import RowIdentity, row_digests, rows_of_slab


def drawn(count: int) -> bytes:
    return np.random.default_rng(3).bytes(count)


@pytest.mark.parametrize("lengths", [range(1, 700), range(700, 6_000, 8), (16_384, 32_760, 65_536)])
def test_digests_are_the_librarys_whatever_the_length_of_a_row(lengths: Iterable[int]) -> None:
    for row_bytes in lengths:
        slab = drawn(3 * row_bytes)
        result = row_digests(slab, row_bytes).astype(">u8").tobytes()
        rows = [slab[at : at + row_bytes] for at in range(0, len(slab), row_bytes)]
        assert result == b"".join(xxhash.xxh3_128_digest(row) for row in rows), row_bytes


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_digests_of_extreme_words_are_the_librarys(fill: bytes) -> None:
    row = fill * 5_120
    assert row_digests(row, len(row)).astype(">u8").tobytes() == xxhash.xxh3_128_digest(row)


def test_digests_do_not_depend_on_the_address_of_the_slab() -> None:
    stored = drawn(4 * 1_024 + 3)
    for start in range(4):
        slab = memoryview(stored)[start : start + 4 * 1_024]
        assert np.array_equal(row_digests(slab, 1_024), row_digests(bytes(slab), 1_024))


def test_a_slab_of_no_rows_has_no_digests() -> None:
    assert row_digests(b"", 1_024).shape == row_digests(b"", 8).shape == (0, 2)


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 8, 1_000, 1_024])
@pytest.mark.parametrize("kinds", [1, 3, 500, 10**9])
def test_equal_rows_are_grouped_as_by_a_dictionary(rows: int, kinds: int) -> None:
    words = np.random.default_rng(rows).integers(0, kinds, size=rows).astype("<u8")
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, word in enumerate(words.tolist()):
        rows_of[word].append(row)
    repeated = sorted((group for group in rows_of.values() if len(group) > 1), key=lambda group: group[1])

    identity = RowIdentity(rows, 8)
    for start in range(0, rows, 100):  # slabs
        slab = words[start : start + 100].tobytes()
        identity.add(row_digests(slab, 8), rows_of_slab(slab, 8))
    assert identity.black_hole_rows == repeated
    assert identity.unique_rows == len(rows_of)
    assert b"".join(identity.vectors(2)) == b"".join(words[group[0]].tobytes() for group in repeated)
    identity.close()


def test_rows_that_share_a_slot_are_distinguished() -> None:
    """Digests that agree in one half only, in a table with as many slots as there are rows and one."""
    digests = np.array([[1, 5], [2, 5], [1, 6], [1, 5], [2, 6], [2, 5], [0, 0]], dtype=np.uint64)
    slots, first = np.zeros(8, dtype=np.int32), np.empty(7, dtype=np.int32)
    find_first(digests, 0, 7, np.zeros(4, dtype=np.uint64), np.uint64(61), slots, first)
    assert first.tolist() == [0, 1, 2, 0, 4, 1, 6]


@pytest.mark.parametrize("half", [0, 1])
def test_rows_made_to_share_half_a_digest_take_no_longer(half: int) -> None:
    """Quadratic, it would take hours."""
    digests = np.zeros((1_000_000, 2), dtype=np.uint64)
    digests[:, half] = np.arange(len(digests), dtype=np.uint64) << np.uint64(40)
    identity = RowIdentity(len(digests), 1)
    identity.add(digests, rows_of_slab(bytearray(len(digests)), 1))
    assert identity.unique_rows == len(digests)
    identity.close()


def test_more_rows_than_announced_are_refused() -> None:
    identity, row = RowIdentity(1, 8), b"12345678"
    identity.add(row_digests(row, 8), rows_of_slab(row, 8))
    with pytest.raises(AssertionError, match="no more rows than announced"):
        identity.add(row_digests(row, 8), rows_of_slab(row, 8))
    identity.close()


def test_more_rows_than_can_be_numbered_are_refused() -> None:
    with pytest.raises(UsageError, match="expected fewer than 2,147,483,647"):
        RowIdentity(2**31, 8)
