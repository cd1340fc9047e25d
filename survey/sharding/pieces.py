"""Stored rows of a matrix, whole or cut into several tensors.

A matrix that was trained on several devices is often stored as it lay on them: cut by rows (each holds some
tokens) or by columns (each holds some dimensions), in one file or in one for each device. The ranges that
make up a block of rows are fetched like any others, several at a time, and put side by side in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from survey.checkpoints.checkpoint import Checkpoint
from survey.records.blocks import Block, new_buffer
from survey.records.tensors import ByteRange, FileRange, Piece, TensorSpec


@dataclass(frozen=True, slots=True)
class Strip:
    """The share of a piece in a block: rows [start, stop) of the block, bytes [left, right) of each row."""

    source: FileRange
    start: int
    stop: int
    left: int
    right: int


def stream_rows(
    checkpoint: Checkpoint,
    spec: TensorSpec,
    ranges: Sequence[ByteRange],
    on_bytes: Callable[[int], None] = lambda count: None,
) -> Iterator[Block]:
    """Yield the stored bytes of whole rows, a block for each range. Raises SurveyError.

    ranges: within `spec.bytes`, whole rows each. on_bytes(count): called as bytes arrive.
    """
    if not spec.pieces:
        yield from checkpoint.stream([FileRange(spec.file, byte_range) for byte_range in ranges], on_bytes)
        return
    blocks = [_strips(spec, byte_range) for byte_range in ranges]
    parts = checkpoint.stream([strip.source for block in blocks for strip in block], on_bytes)
    for byte_range, block in zip(ranges, blocks, strict=True):
        yield _joined(len(byte_range), spec.row_bytes, block, parts)


def _strips(spec: TensorSpec, byte_range: ByteRange) -> list[Strip]:
    """The shares of the pieces in these rows, in the order of the pieces."""
    first, stop = byte_range.start // spec.row_bytes, byte_range.stop // spec.row_bytes
    strips = []
    for piece in spec.pieces:
        rows = range(max(first, piece.row), min(stop, piece.row + piece.tensor.shape[0]))
        if rows:
            strips.append(_strip(piece, rows, first))
    return strips


def _strip(piece: Piece, rows: range, first: int) -> Strip:
    item_bytes = piece.tensor.row_bytes // piece.tensor.shape[1]
    stored, step = piece.tensor.bytes.start, piece.tensor.row_bytes
    begin, end = rows.start - piece.row, rows.stop - piece.row
    source = FileRange(piece.tensor.file, ByteRange(stored + begin * step, stored + end * step))
    left = piece.column * item_bytes
    return Strip(source, rows.start - first, rows.stop - first, left, left + step)


def _joined(size: int, row_bytes: int, strips: Sequence[Strip], parts: Iterator[Block]) -> Block:
    """The next block, filled from the strips as they arrive."""
    if len(strips) == 1:
        return next(parts)
    block = new_buffer(size)
    rows = np.frombuffer(block, np.uint8).reshape(-1, row_bytes)
    for strip in strips:
        part = np.frombuffer(next(parts), np.uint8)
        rows[strip.start : strip.stop, strip.left : strip.right] = part.reshape(strip.stop - strip.start, -1)
    return block
