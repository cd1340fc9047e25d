"""The geometry of a pass: how a matrix is cut into blocks, slabs and chunks, and how many are in memory.

Largest first: a block is what one request brings, a slab what one thread works on, a chunk 1,024 rows that
are summed pairwise, a group 32 rows that are summed in one sweep. Slabs divide chunks evenly.
"""

from __future__ import annotations

from collections.abc import Sequence

from survey.records.tensors import ByteRange, TensorSpec

CHUNK_ROWS = 1024
GROUP_ROWS = 32
QUAD_ROWS = 4  # of a group, folded together, so that sums of neighbours stay in registers
SLAB_BYTES = 5 << 20  # as a block: enough work for a thread; a few slabs are in memory at once
LANE_DIMS = 256  # sums over dimensions: element d is added to lane d mod 256
WEIGHT_BITS = 0xFFFF_FFFF_E000_0000  # of a float64: sign, exponent and the first 24 of the mantissa
PROJECTION_DIMS = 32  # of the rows' projections
DIRECTION_DIMS = 128  # of the rows' directions, in bfloat16; the lanes once folded in half
PRODUCT_ROWS = 2048  # whose products D × D are added up at a time, in float64
SPOOL_BYTES = 64 << 20  # beyond this the black holes' vectors go to a temporary file
BATCH_BYTES = 64 << 20  # of a GPU's batch of chunks: its copy takes 1.3 ms, its launches 0.3
BATCH_CHUNKS = 64  # of a batch, however short the rows: each row leaves 400 bytes of results
BATCHES = 4  # in flight on a GPU: one is staged, one copied, one computed, one read
COPY_BYTES = 4 << 20  # that one thread stages at a time

# A block is so big that a request's round trip does not show, and so small that a window of blocks stays
# far below the memory of one shard: 8 connections hold 50 MiB.
BLOCK_BYTES = 5 << 20
MOST_BLOCKS_AT_ONCE = 4  # of a matrix in pieces: a block of it is put together from smaller ranges


def slab_rows(row_bytes: int) -> int:
    """Rows of one slab: a power of two from GROUP_ROWS to CHUNK_ROWS."""
    rows = GROUP_ROWS
    while rows < CHUNK_ROWS and rows * 2 * row_bytes <= SLAB_BYTES:
        rows *= 2
    return rows


def batch_rows(vocab_rows: int, row_bytes: int) -> int:
    """Rows of one batch of a GPU: whole chunks, one at least."""
    chunks = min(BATCH_CHUNKS, BATCH_BYTES // (CHUNK_ROWS * row_bytes), -(-vocab_rows // CHUNK_ROWS))
    return max(1, chunks) * CHUNK_ROWS


def block_bytes(spec: TensorSpec) -> int:
    """Upper limit of the bytes of one block; higher if each block takes requests to several tensors."""
    return max(BLOCK_BYTES * min(spec.across, MOST_BLOCKS_AT_ONCE), spec.row_bytes)


def row_blocks(spec: TensorSpec, most_bytes: int | None = None) -> list[ByteRange]:
    """Cut the tensor's bytes into consecutive ranges of whole rows, at most `most_bytes` if a row fits.

    Ranges are whole slabs if these fit, so that no slab lies across two blocks and has to be copied.
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


def row_runs(rows: Sequence[int], row_bytes: int, *, gap_bytes: int, most_bytes: int) -> list[list[int]]:
    """Group ascending row numbers into runs, each to be read at once together with the rows between.

    gap_bytes: the most that is read between two of the rows. most_bytes: of one run, unless a row is longer.
    """
    runs: list[list[int]] = []
    for row in rows:
        is_near = bool(runs) and (row - runs[-1][-1] - 1) * row_bytes <= gap_bytes
        if is_near and (row - runs[-1][0] + 1) * row_bytes <= most_bytes:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs
