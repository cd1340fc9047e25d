"""Cutting a stream of bytes into slabs of rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from survey.numerics.dtypes import FLOATS
from survey.onepass.geometry import BLOCK_BYTES, CHUNK_ROWS, GROUP_ROWS, SLAB_BYTES, row_blocks, slab_rows
from survey.onepass.slabs import slabs
from survey.records.tensors import ByteRange, TensorSpec


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
    result = [bytes(slab) for slab in slabs(cut(b"0123456789", sizes), 4)]
    assert result == [b"0123", b"4567", b"89"]


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
    requested: list[int] = []

    def blocks() -> Iterator[bytearray]:
        for number in range(3):
            requested.append(number)
            yield bytearray(4)

    stream = slabs(blocks(), 4)
    next(stream)
    assert requested == [0]


@pytest.mark.parametrize(
    ("row_bytes", "rows"),
    [
        pytest.param(2, 1024, id="never more than a chunk"),
        pytest.param(2 * 2560, 1024, id="Qwen3-4B: 1,024 rows of 5 KiB are 5 MiB exactly"),
        pytest.param(2 * 2561, 512, id="one element more"),
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


# ---- blocks


def spec(rows: int, dims: int, dtype: str = "BF16", start: int = 0) -> TensorSpec:
    stop = start + rows * dims * FLOATS[dtype].item_bytes
    return TensorSpec("w", "w.safetensors", dtype, (rows, dims), ByteRange(start, stop))


@pytest.mark.parametrize(
    ("tensor", "block_bytes", "cuts"),
    [
        pytest.param(spec(6, 4), 16, [0, 16, 32, 48], id="two-rows-a-block"),
        pytest.param(spec(6, 4), 23, [0, 16, 32, 48], id="no-half-row"),
        pytest.param(spec(6, 4), 24, [0, 24, 48], id="three-rows-a-block"),
        pytest.param(spec(7, 4), 24, [0, 24, 48, 56], id="a-shorter-last-block"),
        pytest.param(spec(3, 4), 7, [0, 8, 16, 24], id="a-row-larger-than-a-block"),
        pytest.param(spec(3, 4), 1000, [0, 24], id="all-in-one"),
        pytest.param(spec(1, 1), 1000, [0, 2], id="one-number"),
        pytest.param(spec(6, 4, start=1003), 16, [1003, 1019, 1035, 1051], id="later-in-the-file"),
        pytest.param(spec(2, 3, "F64"), 24, [0, 24, 48], id="doubles"),
    ],
)
def test_blocks_are_consecutive_whole_rows(tensor: TensorSpec, block_bytes: int, cuts: list[int]) -> None:
    assert row_blocks(tensor, block_bytes) == [ByteRange(*pair) for pair in pairwise(cuts)]


@pytest.mark.parametrize("rows", [1, 511, 512, 513, 1535, 1536, 151_936])
@pytest.mark.parametrize("dims", [3, 2560, 16_384, 3_000_000])
def test_blocks_are_whole_slabs_and_cover_the_tensor(rows: int, dims: int) -> None:
    tensor = spec(rows, dims, start=2**33 + 77)
    row = tensor.row_bytes
    blocks = row_blocks(tensor)
    assert (blocks[0].start, blocks[-1].stop) == (2**33 + 77, tensor.bytes.stop)
    assert all(left.stop == right.start for left, right in pairwise(blocks))
    unit = slab_rows(row) * row if slab_rows(row) * row <= BLOCK_BYTES else row
    assert all(len(block) % unit == 0 for block in blocks[:-1])
    assert all(0 < len(block) <= max(BLOCK_BYTES, row) for block in blocks)
