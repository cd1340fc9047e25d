"""Cutting a stream of bytes into slabs of rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from survey.slabs import CHUNK_ROWS, GROUP_ROWS, SLAB_BYTES, slab_rows, slabs


def cut(content: bytes, sizes: list[int]) -> Iterator[bytearray]:
    """Blocks of the given sizes, the last size again and again until the content ends."""
    start = 0
    while start < len(content):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        yield bytearray(content[start : start + size])
        start += size


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([10], id="one block"),
        pytest.param([4], id="blocks of a slab"),
        pytest.param([8], id="blocks of two slabs"),
        pytest.param([1], id="single bytes"),
        pytest.param([3], id="blocks shorter than a slab"),
        pytest.param([5], id="blocks longer than a slab"),
        pytest.param([7], id="a block that ends a slab and begins the next"),
        pytest.param([2, 0, 0, 8], id="empty blocks"),
        pytest.param([3, 7], id="a block that completes a slab and brings one more"),
    ],
)
def test_slabs_are_the_same_bytes_wherever_the_stream_was_cut(sizes: list[int]) -> None:
    found = [bytes(slab) for slab in slabs(cut(b"0123456789", sizes), 4)]
    assert found == [b"0123", b"4567", b"89"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"01234567", [b"0123", b"4567"], id="whole slabs leave nothing over"),
        pytest.param(b"012", [b"012"], id="less than a slab"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_only_the_last_slab_may_be_shorter(content: bytes, expected: list[bytes]) -> None:
    assert [bytes(slab) for slab in slabs([bytearray(content)], 4)] == expected


def test_a_slab_within_one_block_is_a_view_and_not_a_copy() -> None:
    block = bytearray(b"01234567")
    first, second = slabs([block], 4)
    block[0:1], block[7:8] = b"x", b"y"
    assert (bytes(first), bytes(second)) == (b"x123", b"456y")


def test_slabs_come_before_the_next_block_is_asked_for() -> None:
    asked: list[int] = []

    def blocks() -> Iterator[bytearray]:
        for number in range(3):
            asked.append(number)
            yield bytearray(4)

    stream = slabs(blocks(), 4)
    next(stream)
    assert asked == [0]


@pytest.mark.parametrize(
    ("row_bytes", "rows"),
    [
        pytest.param(2, 1024, id="never more than a chunk"),
        pytest.param(4096, 1024, id="1,024 rows of 4 KiB are 4 MiB exactly"),
        pytest.param(4098, 512, id="one element more"),
        pytest.param(2 * 2560, 512, id="Qwen3-4B"),
        pytest.param(2 * 4096, 512, id="Llama-3.1-8B"),
        pytest.param(2 * 16_384, 128, id="Llama-3.1-405B"),
        pytest.param(8_000_000, 32, id="never less than a group"),
    ],
)
def test_rows_of_a_slab(row_bytes: int, rows: int) -> None:
    assert slab_rows(row_bytes) == rows


@pytest.mark.parametrize("row_bytes", [2, 768, 1538, 5120, 12_288, 32_768, 200_000])
def test_slabs_divide_a_chunk_into_whole_groups(row_bytes: int) -> None:
    rows = slab_rows(row_bytes)
    assert (CHUNK_ROWS % rows, rows % GROUP_ROWS) == (0, 0)
    assert rows == GROUP_ROWS or rows * row_bytes <= SLAB_BYTES
