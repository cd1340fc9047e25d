"""A matrix that is stored in parts: the position of each part in the whole, and missing parts.

Some files state the positions (torch's distributed checkpoints keep the offsets of each part). Others hold a
tensor for each device under the same name, or under names with numbers: then the shapes decide, together with
the number of tokens and the hidden size that the config states. Parts whose positions stay open are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from survey.errors import NotThere
from survey.records.tensors import ByteRange, Piece, TensorSpec

NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class TensorPart:
    """A tensor that may be a part of a matrix. offsets: of its first element in the whole, if stated."""

    tensor: TensorSpec
    offsets: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class MatrixSize:
    """The size [rows, dims] of a whole matrix, as far as it is stated.

    padded: whether `rows` counts tokens, so that further rows may fill up the last part.
    """

    rows: int | None = None
    dims: int | None = None
    padded: bool = True


def join_parts(name: str, parts: Sequence[TensorPart], size: MatrixSize, where: str) -> TensorSpec:
    """The whole tensor that these parts, in order, are cut from.

    parts: [rows, dims] each. Raises NotThere (`split-head`) if one is missing, or their positions are open.
    """
    first = parts[0].tensor
    if any(len(part.tensor.shape) != 2 or 0 in part.tensor.shape for part in parts):
        raise _refused(where, name, f"has parts of shape {_shapes(parts)}, expected [rows, dimensions]")
    if any(part.tensor.pieces for part in parts):
        raise _refused(where, name, "has parts that lie in several tensors themselves")
    if any(part.tensor.dtype != first.dtype for part in parts):
        kinds = ", ".join(dict.fromkeys(part.tensor.dtype for part in parts))
        raise _refused(where, name, f"has parts in {kinds}, expected one dtype")
    if all(part.offsets is not None for part in parts) and size.rows is not None:
        return _whole(name, [_at(part) for part in parts], size, where)
    if _is_copied(parts, size):
        return first
    for arrange in (_by_rows, _by_columns):
        if pieces := arrange(parts, size):
            return _whole(name, pieces, size, where)
    stated = f"[{_known(size.rows)}, {_known(size.dims)}]"
    problem = f"has {len(parts)} parts of shape {_shapes(parts)}, the config states {stated}"
    raise _refused(where, name, f"{problem}: how they are cut is open")


def is_cut(tensors: Sequence[TensorSpec], size: MatrixSize, *, columns: bool = True) -> bool:
    """Whether tensors in order have the shapes of the parts of a matrix, complete or not.

    columns: whether it may be cut by columns.
    """
    parts = [TensorPart(tensor) for tensor in tensors]
    return all(len(tensor.shape) == 2 and 0 not in tensor.shape for tensor in tensors) and bool(
        _by_rows(parts, size) or (columns and _by_columns(parts, size))
    )


def _is_copied(parts: Sequence[TensorPart], size: MatrixSize) -> bool:
    """Whether each device stored the whole matrix."""
    shapes = {part.tensor.shape for part in parts}
    return len(shapes) == 1 and next(iter(shapes)) == (size.rows, size.dims)


def _by_rows(parts: Sequence[TensorPart], size: MatrixSize) -> list[Piece]:
    """The pieces, if each holds all dimensions of some rows; empty if the shapes contradict that."""
    rows, dims = [part.tensor.shape[0] for part in parts], {part.tensor.shape[1] for part in parts}
    if size.rows is None or len(dims) != 1 or size.dims not in (None, *dims):
        return []
    if max(rows) >= size.rows or not (sum(rows) == size.rows or _is_even(rows)):
        return []
    starts = accumulate(rows, initial=0)
    return [Piece(part.tensor, start, 0) for part, start in zip(parts, starts, strict=False)]


def _by_columns(parts: Sequence[TensorPart], size: MatrixSize) -> list[Piece]:
    """The pieces, if each holds some dimensions of all rows; empty if the shapes contradict that."""
    rows, dims = {part.tensor.shape[0] for part in parts}, [part.tensor.shape[1] for part in parts]
    if size.dims is None or len(rows) != 1 or (size.rows is not None and min(rows) < size.rows):
        return []
    if max(dims) >= size.dims or not (sum(dims) == size.dims or _is_even(dims)):
        return []
    starts = accumulate(dims, initial=0)
    return [Piece(part.tensor, 0, start) for part, start in zip(parts, starts, strict=False)]


def _is_even(counts: Sequence[int]) -> bool:
    """Whether all devices have equally many, the last one perhaps fewer, as padding may be left out."""
    return all(count == counts[0] for count in counts[:-1]) and counts[-1] <= counts[0]


def _at(part: TensorPart) -> Piece:
    offsets = part.offsets or ()
    row, column = offsets if len(offsets) == 2 else (-1, -1)
    return Piece(part.tensor, row, column)


def _whole(name: str, pieces: Sequence[Piece], size: MatrixSize, where: str) -> TensorSpec:
    """The tensor that the pieces form. Raises NotThere unless they cover each of its elements once."""
    rows = max(piece.row + piece.tensor.shape[0] for piece in pieces)
    dims = max(piece.column + piece.tensor.shape[1] for piece in pieces)
    first = pieces[0].tensor
    if missing := _missing(pieces, max(rows, size.rows or 0), max(dims, size.dims or 0)):
        raise _refused(where, name, f"is there in part only: {missing} {_listed(pieces)}")
    max_rows = size.rows if size.rows is None or not size.padded else size.rows + first.shape[0] - 1
    if (max_rows is not None and rows > max_rows) or (size.dims is not None and dims > size.dims):
        stated = f"[{_known(size.rows)}, {_known(size.dims)}]"
        raise _refused(where, name, f"has parts of [{rows:,}, {dims:,}] together, {stated} is stated")
    if len(pieces) == 1:
        return replace(first, name=name)
    row_bytes = first.row_bytes // first.shape[1] * dims
    return TensorSpec(
        _spelled([piece.tensor.name for piece in pieces]),
        _spelled([piece.tensor.file for piece in pieces]),
        first.dtype,
        (rows, dims),
        ByteRange(0, rows * row_bytes),
        tuple(sorted(pieces, key=lambda piece: (piece.row, piece.column))),
    )


def _missing(pieces: Sequence[Piece], rows: int, dims: int) -> str:
    """The first rows or dimensions that no piece holds, or that several hold; empty if there are none."""
    bands: dict[tuple[int, int], list[Piece]] = {}
    for piece in pieces:
        bands.setdefault((piece.row, piece.row + piece.tensor.shape[0]), []).append(piece)
    at = 0
    for (start, stop), across in (*sorted(bands.items()), ((rows, rows), [])):
        if start > at:
            return f"rows {at:,} to {start - 1:,} of {rows:,} are missing;"
        if start < at:
            return f"several parts hold the rows {start:,} to {min(at, stop) - 1:,};"
        if across and (gap := _gap(across, dims)):
            return f"{gap} of rows {start:,} to {stop - 1:,};"
        at = stop
    return ""


def _gap(across: Sequence[Piece], dims: int) -> str:
    """The first dimensions of a band of rows that no piece holds, or several hold; else empty."""
    at = 0
    for column, stop in (*sorted((p.column, p.column + p.tensor.shape[1]) for p in across), (dims, dims)):
        if column > at:
            return f"dimensions {at:,} to {column - 1:,} of {dims:,} are missing"
        if column < at:
            return f"several parts hold dimensions {column:,} to {min(at, stop) - 1:,}"
        at = stop
    return ""


def _listed(pieces: Sequence[Piece]) -> str:
    files = _spelled([piece.tensor.file for piece in pieces])
    return f"found {len(pieces)} part{'s' if len(pieces) > 1 else ''}, in {files}"


def _spelled(names: Sequence[str]) -> str:
    """Names of tensors or files, without repetitions; of many only the first and the last."""
    named = list(dict.fromkeys(names))
    if len(named) <= NAMES_SHOWN:
        return " + ".join(named)
    return f"{named[0]} + {len(named) - 2} more + {named[-1]}"


def _shapes(parts: Sequence[TensorPart]) -> str:
    return ", ".join(dict.fromkeys(str(list(part.tensor.shape)) for part in parts))


def _known(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _refused(where: str, name: str, problem: str) -> NotThere:
    return NotThere("split-head", where, f"{name} {problem}")
