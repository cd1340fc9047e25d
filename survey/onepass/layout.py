"""The geometry of a pass: how a matrix is cut into blocks, slabs and chunks, and how much is held at once."""

from __future__ import annotations

from survey.records.target import ByteRange, TensorSpec

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


MAX_THREADS = 4  # each holds a slab, and these measure as many bytes as a link brings


SPOOL_BYTES = 64 << 20  # beyond this the black holes' vectors go to a temporary file


PROJECTION_DIMS = 32


LANE_DIMS = 256
GPU_BUFFERS = 2  # slabs under way on a GPU: one copied, one computed
