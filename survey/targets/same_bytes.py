"""Whether a matrix is stored in the same bytes as another one, without reading them.

Where their chunks in the storage are the same, the bytes are; the few where they differ (at a tensor's ends,
chunks also hold bytes of its neighbours) are read of both and compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from survey.checkpoints.checkpoint import Checkpoint
from survey.records.target import Target
from survey.records.tensors import ByteRange, ChunkRun, TensorSpec
from survey.targets.equal_chunks import unproved

# Proving takes some ten requests; below, the matrix itself takes no longer.
PROVABLE_BYTES = 4 << 20
MOST_COMPARED = 1 / 16  # of a matrix
LARGEST_COMPARED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a checkpoint, and the chunks of the storage that hold it."""

    checkpoint: Checkpoint
    spec: TensorSpec
    chunks: tuple[ChunkRun, ...]

    def part(self, part: ByteRange) -> bytes:
        """Bytes [start, stop) of the tensor. Raises SurveyError."""
        start = self.spec.bytes.start
        return self.checkpoint.read_range(self.spec.file, ByteRange(start + part.start, start + part.stop))


def is_provable(target: Target) -> bool:
    """Whether a proof is worth its requests and covers all that decides the figures: one tensor, no scale."""
    return not target.spec.pieces and target.scale is None and len(target.spec.bytes) >= PROVABLE_BYTES


def may_be_same(one: Target, other: Target) -> bool:
    """Whether two matrices differ in nothing but perhaps their bytes."""
    spec = replace(other.spec, name=one.spec.name, file=one.spec.file, bytes=one.spec.bytes)
    is_as_long = len(one.spec.bytes) == len(other.spec.bytes)
    return spec == one.spec and is_as_long and is_provable(one) and is_provable(other)


def are_same(one: StoredTensor, other: StoredTensor) -> bool:
    """Whether two tensors of one size are proved to be of the same bytes. Raises SurveyError."""
    size = len(one.spec.bytes)
    gaps = unproved(one.chunks, other.chunks, size)
    if sum(map(len, gaps)) > min(size * MOST_COMPARED, LARGEST_COMPARED_BYTES):
        return False
    return all(one.part(gap) == other.part(gap) for gap in gaps)
