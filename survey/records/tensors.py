"""Tensors in the files of a checkpoint: their bytes, their pieces, their scales."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, stop) of one file; stop is one past the last byte."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def http_header(self) -> str:
        return f"bytes={self.start}-{self.stop - 1}"  # HTTP names the last byte itself


@dataclass(frozen=True, slots=True)
class FileRange:
    """A byte range of one of a checkpoint's files."""

    file: str
    bytes: ByteRange


@dataclass(frozen=True, slots=True)
class ChunkRun:
    """Chunks [first, stop) of a container of the storage (`xorb`, a hash), as a part of a range of a file.

    start: of their first byte from the range's beginning, negative if it lies before. size: of all of them,
    in bytes. offsets: of each of them from the first; empty if they are not stated.
    """

    xorb: str
    first: int
    stop: int
    start: int
    size: int
    offsets: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """The end of its last byte from the range's beginning."""
        return self.start + self.size

    def start_of(self, chunk: int) -> int | None:
        """Where a chunk of the run begins, or its end at `stop`; None if that is not known."""
        if chunk == self.first:
            return self.start
        if chunk == self.stop:
            return self.end
        return self.start + self.offsets[chunk - self.first] if self.offsets else None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a matrix that is a tensor of its own; its first element is [row, column] of the whole.

    Of a quantised matrix the parts are bytes, and `column` counts those of a row.
    """

    tensor: TensorSpec
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor in a file: [V, D], row-major, at `bytes` of the file (absolute).

    pieces: of a matrix that is cut into several tensors, by row and column. Then `bytes` counts from 0, as if
    the whole had been written row by row (`survey.sharding.pieces` reads it).
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    bytes: ByteRange
    pieces: tuple[Piece, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return len(self.bytes) // self.shape[0]

    @property
    def across(self) -> int:
        """The largest number of tensors that a row is made of."""
        return len({piece.column for piece in self.pieces}) or 1

    @property
    def files(self) -> tuple[str, ...]:
        """The files that hold it, each once."""
        files = (piece.tensor.file for piece in self.pieces)
        return tuple(dict.fromkeys(files)) if self.pieces else (self.file,)


@dataclass(frozen=True, slots=True)
class ScaleSpec:
    """The scale of a matrix: [P, Q] factors (`tiles`), each for a tile of rows × dimensions.

    file_bytes: size of the file that holds it. per: `tensor`, `row` or the tile, such as `128×128`.
    divides: whether values are divided by the factors.
    """

    tensor: TensorSpec
    file_bytes: int
    tiles: tuple[int, int]
    tile: tuple[int, int]
    per: str
    divides: bool = False
