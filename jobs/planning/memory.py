"""The peak memory of a task, predicted before its launch."""

from __future__ import annotations

from collections.abc import Sequence

from survey.checkpoints.tokenizer_files import expected_names_bytes
from survey.hub.prefetch import window_blocks
from survey.numerics.dtypes import FLOATS
from survey.onepass.geometry import (
    BATCHES,
    CHUNK_ROWS,
    GROUP_ROWS,
    SPOOL_BYTES,
    batch_rows,
    block_bytes,
    slab_rows,
)
from survey.records.settings import Settings, SpectraDevice
from survey.records.target import Target
from survey.records.tensors import TensorSpec
from survey.spectra.memory import SPECTRUM_SQUARES, study_bytes

# Resident size of an interpreter with numba and its compiler, the Hub client and Arrow loaded, or torch.
PROCESS_BYTES = 450 << 20
THREADS = 4  # of a task on Ray, at most: one, or four beside a GPU; in the driver's process, all CPUs
# 40 during the pass (xxh3-128, two to four slots of a table, norms); the rest is the worst case after it:
# a matrix of pairs alone, each a record and a row of a table; and two projections to 32 dimensions, of the
# row's direction and of the row, and one of its direction to 128 dimensions of 16 bits.
ROW_BYTES = 325 + 2 * 128 + 256
GPU_CONTEXT_BYTES = 600 << 20  # of a process that uses CUDA
# What a GPU leaves of a row: two floats, a digest, and projections to 32 and to 128 dimensions.
RESULT_BYTES = 2 * 8 + 16 + 4 * 32 + 2 * 128
TORCH_BYTES = 300 << 20  # with the eigenvalues of scipy, in a process that loads neither otherwise
CUDA_BYTES = 2 << 30  # on the host, of a process that has loaded torch, CUDA and Triton


def task_memory_bytes(target: Target, settings: Settings) -> int:
    """Upper estimate of the peak resident bytes of the task that measures and names a target."""
    matrix = expected_memory_bytes(target.spec, settings.connections)
    on_gpu = gpu_host_bytes(target.spec) if settings.device == "cuda" else 0
    names = expected_names_bytes(dict(target.tokenizer_files))
    return matrix + on_gpu + names + _gram_bytes(target, settings)


def _gram_bytes(target: Target, settings: Settings) -> int:
    """Memory for distances to known unused tokens: a Gram matrix, its factors, and a chunk of rows."""
    _, dims = target.spec.shape
    return 4 * 8 * dims * (dims + CHUNK_ROWS) if settings.reference else 0


def spectrum_bytes(spec: TensorSpec) -> int:
    """Upper estimate of the memory that a spectrum takes beyond its pass, products on the CPU or a GPU."""
    _, dims = spec.shape
    return TORCH_BYTES + study_bytes(dims, SPECTRUM_SQUARES)


def spectrum_host_bytes(target: Target, device: SpectraDevice | None) -> int:
    """The memory that the spectrum of a planned target takes; 0 if none is computed."""
    if device is None or device.name is None:
        return 0
    return target.spectrum_bytes + (0 if device.name == "cpu" else CUDA_BYTES)


def task_gpu_bytes(spec: TensorSpec, *, passes: bool, multiplies: bool) -> int:
    """Upper estimate of a task's GPU memory. passes: with the pass there. multiplies: with the spectrum."""
    spectrum = spectrum_bytes(spec) - TORCH_BYTES if multiplies else 0
    return spectrum + (gpu_memory_bytes(spec) if passes else GPU_CONTEXT_BYTES)


def local_bytes(targets: Sequence[Target]) -> int:
    """Bytes of the matrices in folders of this machine, which may come faster than CPUs measure them."""
    return sum(len(target.spec.bytes) for target in targets if target.folder is not None)


def gpu_memory_bytes(spec: TensorSpec) -> int:
    """Upper estimate of the GPU memory that measuring this matrix takes."""
    vocab_rows, dims = spec.shape
    rows = batch_rows(vocab_rows, spec.row_bytes)
    return GPU_CONTEXT_BYTES + BATCHES * _batch_bytes(spec) + rows // GROUP_ROWS * dims * 8


def gpu_host_bytes(spec: TensorSpec) -> int:
    """Upper estimate of the memory of the host that measuring on a GPU takes beyond measuring on a CPU."""
    return CUDA_BYTES + BATCHES * _batch_bytes(spec)


def _batch_bytes(spec: TensorSpec) -> int:
    """Bytes of a batch on a GPU, its rows and their results; as many are pinned on the host."""
    vocab_rows, dims = spec.shape
    rows = batch_rows(vocab_rows, spec.row_bytes)
    return rows * (spec.row_bytes + RESULT_BYTES) + rows // CHUNK_ROWS * dims * 8


def expected_memory_bytes(spec: TensorSpec, connections: int) -> int:
    """Upper estimate of the peak resident bytes of a process that measures this matrix in THREADS threads."""
    rows, dims = spec.shape
    # A chunk keeps its slabs' sums.
    chunk = CHUNK_ROWS // min(_slabs_rows(spec)) * dims * 8
    # There are at most half as many black holes as rows; beyond SPOOL_BYTES their vectors go to a file.
    black_holes = min(SPOOL_BYTES, len(spec.bytes) // 2)
    working = (THREADS + 2) * thread_bytes(spec) + chunk + black_holes + rows * ROW_BYTES
    return PROCESS_BYTES + window_blocks(connections) * block_bytes(spec) + working


def thread_bytes(spec: TensorSpec) -> int:
    """Upper estimate of the bytes of each thread that measures this matrix.

    It works on a slab, and keeps its block, or a copy if the slab lies across two, and the sums of groups of
    its rows. Rows that are no floats are copied and decoded.
    """
    _, dims = spec.shape
    slab = slab_rows(spec.row_bytes)
    needed = block_bytes(spec) + slab * spec.row_bytes + (GROUP_ROWS + slab // GROUP_ROWS) * dims * 8
    if spec.dtype not in FLOATS:
        needed += min(_slabs_rows(spec)) * (dims * 8 + spec.row_bytes)
    return needed


def _slabs_rows(spec: TensorSpec) -> tuple[int, ...]:
    """Rows of a slab as it is stored and, if it is decoded, as it is then."""
    _, dims = spec.shape
    stored = slab_rows(spec.row_bytes)
    return (stored,) if spec.dtype in FLOATS else (stored, slab_rows(dims * 4))
