"""Shapes of a vocabulary matrix of unknown name: whole, padded, transposed, cut, or in codes."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from survey.numerics.dtypes import FLOATS
from survey.unembedding.model_config import stated_shapes
from survey.unembedding.tensor_names import TensorNames

_PADDED_FROM, _MAX_PADDING = 1024, 256  # rows
_CODES = (1, 2, 4, 8, 16)  # in one element


def possible_sizes(names: TensorNames) -> tuple[set[int], set[int]]:
    """Every V and every D that the checkpoint may have, by its config and by the embedding's header.

    None is 0: an embedding that is stored empty, as a placeholder, says nothing of the sizes.
    """
    shapes = [shape for shape in (*stated_shapes(names.config), names.embedding_shape) if shape]
    return {rows for rows, _ in shapes if rows}, {dims for _, dims in shapes if dims}


def is_whole_matrix(shape: tuple[int, ...], rows: set[int], dims: set[int]) -> bool:
    """Whether a shape is [V, D], transposed, flat or padded or not, for some V of `rows` and D of `dims`."""
    lengths = [length for length in shape if length != 1]
    if len(lengths) == 1:
        known = rows | dims  # a bias, or a norm
        return lengths[0] not in known and any(
            lengths[0] == size * width for size in rows for width in dims if width > 1
        )
    return len(lengths) == 2 and any(
        (long in rows or _is_padded(long, rows)) and short in dims and long != short
        for long, short in (lengths, lengths[::-1])
    )


def _is_padded(length: int, rows: set[int]) -> bool:
    """Whether a length is some V of `rows`, filled up to a multiple of 8; small ones are not padded."""
    return length % 8 == 0 and any(_PADDED_FROM <= size < length <= size + _MAX_PADDING for size in rows)


def is_matrix_or_part(shape: tuple[int, ...], rows: set[int], dims: set[int], max_parts: int) -> bool:
    """Whether a shape is [V, D], padded or not, transposed or not, or one of at most `max_parts` equal parts.

    A part of a vocabulary has more rows than a layer's inner dimension, unless its name hints at a head
    (`max_parts` above 2).
    """
    if len(shape) != 2 or shape[0] == shape[1]:
        return False
    return any(
        size <= long * max_parts and (max_parts > 2 or 5 * short <= long <= 2 * size) and short in dims
        for long, short in (shape, shape[::-1])
        for size in rows
    )


def factor_pair(names: TensorNames, candidates: Iterable[str]) -> tuple[str, str] | None:
    """Two of the candidates whose product, transposed or not, is [V, D]: [V, r] and [r, D] of a smaller r.

    None if there are no such two, or if their headers were not read.
    """
    rows, dims = possible_sizes(names)
    shapes = _matrix_shapes(names, candidates)
    sides = [(name, *side) for name, shape in shapes for side in (shape, shape[::-1]) if side[0] > side[1]]
    of_rows = {inner: name for name, outer, inner in sides if outer in rows}
    pairs = ((of_rows.get(inner, name), name) for name, outer, inner in sides if outer in dims)
    return next((pair for pair in pairs if pair[0] != pair[1]), None)


def plain_matrix(names: TensorNames, candidates: Iterable[str]) -> str | None:
    """The first candidate of shape [V, D], transposed or not, in floats of more than 8 bits."""
    rows, dims = possible_sizes(names)
    for name in candidates:
        outline = names.outline_of(name)
        plain = outline is not None and outline.dtype in FLOATS and FLOATS[outline.dtype].bits > 8
        if outline is not None and plain and is_whole_matrix(outline.shape, rows, dims):
            return name
    return None


def are_pieces(names: TensorNames, candidates: Iterable[str]) -> bool:
    """Whether the candidates, two or more, have together the rows, or the columns, of one [V, D]."""
    rows, dims = possible_sizes(names)
    shapes = [shape for _, shape in _matrix_shapes(names, candidates)]
    lengths, widths = ([shape[axis] for shape in shapes] for axis in (0, 1))
    by_rows = sum(lengths) in rows and len(set(widths)) == 1 and widths[0] in dims
    by_columns = sum(widths) in dims and len(set(lengths)) == 1 and lengths[0] in rows
    return len(shapes) > 1 and (by_rows or by_columns)


def _matrix_shapes(names: TensorNames, candidates: Iterable[str]) -> list[tuple[str, tuple[int, int]]]:
    """Name and shape of each candidate that has two dimensions, if its header was read."""
    outlines = ((name, names.outline_of(name)) for name in candidates)
    return [
        (name, (outline.shape[0], outline.shape[1]))
        for name, outline in outlines
        if outline is not None and len(outline.shape) == 2
    ]


def may_hold_codes(shape: tuple[int, ...], rows: set[int], dims: set[int]) -> bool:
    """Whether a shape may be that of a matrix's codes; one element holds up to sixteen codes."""
    count = prod(shape)
    if max(shape, default=0) == count:  # flat
        sizes = {size * width for size in rows for width in dims}
        return count not in rows and any(count * codes in sizes for codes in _CODES)
    return may_hold_as_much(shape, rows, dims) and any(
        size in {length * codes for codes in _CODES} for length in shape for size in rows
    )


def may_hold_as_much(shape: tuple[int, ...], rows: set[int], dims: set[int]) -> bool:
    """Whether a tensor may hold V · D numbers, or more, with several in each element."""
    return max(_CODES) * prod(shape) >= min(rows, default=1) * min(dims, default=1)
