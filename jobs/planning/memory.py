"""The peak memory of a task, predicted before its launch."""

from __future__ import annotations

from survey.checkpoints.tokenizer_files import expected_names_bytes
from survey.hub.prefetch import window_blocks
from survey.onepass.geometry import (
    CHUNK_ROWS,
    GPU_BUFFERS,
    GROUP_ROWS,
    LANE_DIMS,
    MAX_THREADS,
    SPOOL_BYTES,
    block_bytes,
    slab_rows,
)
from survey.records.settings import Settings
from survey.records.target import Target
from survey.records.tensors import TensorSpec

# Resident size of an interpreter with numba and its compiler, the Hub client and Arrow loaded, or torch.
PROCESS_BYTES = 450 << 20
# 40 during the pass (xxh3-128, two to four slots of a table, norms); the rest is the worst case after it:
# a matrix of pairs alone, each a record and a row of a table; and two projections to 32 dimensions, of the
# row's direction and of the row, and one of its direction to 128 dimensions of 16 bits.
ROW_BYTES = 325 + 2 * 128 + 256
GPU_CONTEXT_BYTES = 600 << 20  # of a process that uses CUDA


def task_memory_bytes(target: Target, settings: Settings) -> int:
    """Upper estimate of the peak resident bytes of the task that measures and names a target."""
    matrix = expected_memory_bytes(target.spec, settings.connections)
    return matrix + expected_names_bytes(dict(target.tokenizer_files)) + _gram_bytes(target, settings)


def _gram_bytes(target: Target, settings: Settings) -> int:
    """Memory for distances to known unused tokens: a Gram matrix, its factors, and a chunk of rows."""
    _, dims = target.spec.shape
    return 4 * 8 * dims * (dims + CHUNK_ROWS) if settings.reference else 0


def gpu_memory_bytes(spec: TensorSpec) -> int:
    """Upper estimate of the GPU memory that measuring this matrix takes."""
    _, dims = spec.shape
    padded = -(-dims // LANE_DIMS) * LANE_DIMS
    # Widened values and squares, a copy for scaled ones, the stored rows, and their words.
    return GPU_CONTEXT_BYTES + GPU_BUFFERS * CHUNK_ROWS * padded * (3 * 8 + 8 + 4)


def expected_memory_bytes(spec: TensorSpec, connections: int) -> int:
    """Upper estimate of the peak resident bytes of a process that measures this matrix."""
    rows, dims = spec.shape
    block = block_bytes(spec)
    slab = slab_rows(spec.row_bytes)
    # Each thread works on a slab, and keeps its block, or a copy if the slab lies across two; and it
    # keeps the sums of groups of its rows. A chunk keeps its slabs' sums.
    slabs = (MAX_THREADS + 2) * (block + slab * spec.row_bytes)
    sums = MAX_THREADS * (GROUP_ROWS + slab // GROUP_ROWS) * dims * 8
    chunk = CHUNK_ROWS // slab * dims * 8
    # There are at most half as many black holes as rows; beyond SPOOL_BYTES their vectors go to a file.
    black_holes = min(SPOOL_BYTES, len(spec.bytes) // 2)
    working = slabs + sums + chunk + black_holes + rows * ROW_BYTES
    return PROCESS_BYTES + window_blocks(connections) * block + working
