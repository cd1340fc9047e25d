"""Cut a matrix into blocks of rows, what one request brings, and these into slabs: what one thread works on.

Chunks of exactly 1,024 rows, aligned to the absolute row number, decide the order of summation;
slabs divide a chunk into equal parts, each some groups of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from survey.stream import Block
from survey.target import ByteRange, TensorSpec

CHUNK_ROWS = 1024
GROUP_ROWS = 32  # are added in one sweep
SLAB_BYTES = 4 << 20  # enough work for a thread to be handed it; a few of them are held at once

# Big enough that a request's round trip does not show, small enough that a window of them stays
# far below the memory of one shard: 8 connections hold 50 MiB.
BLOCK_BYTES = 5 << 20
MOST_BLOCKS_AT_ONCE = 4  # of a matrix whose rows lie in pieces: a block is put together from smaller ranges


def slab_rows(row_bytes: int) -> int:
    """Rows of one slab: a power of two from GROUP_ROWS to CHUNK_ROWS."""
    rows = GROUP_ROWS
    while rows < CHUNK_ROWS and rows * 2 * row_bytes <= SLAB_BYTES:
        rows *= 2
    return rows


def block_bytes(spec: TensorSpec) -> int:
    """Bytes of one block, at most: more where each takes a request to several tensors."""
    return max(BLOCK_BYTES * min(spec.across, MOST_BLOCKS_AT_ONCE), spec.row_bytes)


def row_blocks(spec: TensorSpec, most_bytes: int | None = None) -> list[ByteRange]:
    """Cut the tensor's bytes into consecutive ranges of whole rows, at most `most_bytes` where a row fits.

    They are whole slabs where these fit, so that no slab lies across two and has to be put together.
    """
    most_bytes = most_bytes or block_bytes(spec)
    unit = slab_rows(spec.row_bytes) * spec.row_bytes
    if unit > most_bytes:
        unit = spec.row_bytes
    step = max(1, most_bytes // unit) * unit
    return [
        ByteRange(start, min(start + step, spec.bytes.stop))
        for start in range(spec.bytes.start, spec.bytes.stop, step)
    ]


def slabs(blocks: Iterable[Block], slab_bytes: int) -> Iterator[Block]:
    """The same bytes in pieces of `slab_bytes`; the last one may be shorter."""
    carried = bytearray()
    for block in blocks:
        rest = memoryview(block)
        if carried:
            missing = slab_bytes - len(carried)
            carried += rest[:missing]
            rest = rest[missing:]
            if len(carried) < slab_bytes:
                continue
            yield carried
            carried = bytearray()
        while len(rest) >= slab_bytes:
            yield rest[:slab_bytes]
            rest = rest[slab_bytes:]
        carried += rest
    if carried:
        yield carried
