"""Shapes that tell of a part of a vocabulary matrix [V, D], or of several of them one after the other.

Judged by lengths that are related to V exactly: V / k, V · k, or V and padding, with D beside them; or V,
with D / k beside it. In most models nothing else has such a shape by chance; but the widths of layers and a
round or a tiny V have many divisors in common, so a length that may be such a width tells little.
"""

from __future__ import annotations

from math import prod

_MOST_PARTS = 16
_MOST_PARTS_UNNAMED = 8  # a tensor whose name says nothing of a head
_MOST_PADDING = 256  # rows, and no more than there are tokens
_COLUMN_PARTS = (2, 3, 4, 8, 16)
_MOST_WIDTHS = 4  # a layer's inner width is D, 2 D, 3 D or 4 D


def is_part_or_multiple(shape: tuple[int, ...], rows: set[int], dims: set[int], *, named: bool) -> bool:
    """Whether a shape is related to [V, D] exactly, transposed, flat or stacked or not.

    named: whether the tensor's name hints at a head; then less exact relations count, too.
    """
    lengths = [length for length in shape if length != 1]
    if named and len(lengths) == 1:
        return _is_flat_part(lengths[0], rows, dims)
    if named and len(lengths) > 2:
        count = prod(lengths)
        return any(
            _is_related(count // width, width, rows, named=True) for width in dims.intersection(lengths)
        )
    if len(lengths) != 2:
        return False
    return any(
        (width in dims and length not in dims and _is_related(length, width, rows, named=named))
        or (_is_padded_or_whole(length, rows, named=named) and _is_column_part(width, dims))
        for length, width in (lengths, lengths[::-1])
    )


def _is_related(length: int, width: int, rows: set[int], *, named: bool) -> bool:
    """Whether a length beside D is V / k, V · k, or V and padding."""
    if _is_padded_or_whole(length, rows, named=named):
        return True
    may_be_inner_width = length <= _MOST_WIDTHS * width
    if may_be_inner_width and not named:
        return False
    most = _MOST_PARTS if named else _MOST_PARTS_UNNAMED
    return any(
        (length % size == 0 and length <= most * size and not may_be_inner_width)
        # A part has more rows than there are parts: two rows are no part of a tiny vocabulary.
        or any(abs(length * parts - size) < parts < length for parts in range(2, most + 1))
        for size in rows
    )


def _is_padded_or_whole(length: int, rows: set[int], *, named: bool) -> bool:
    """Whether a length is V, with padding or rounded to equal parts if `named`."""
    if not named:
        return length in rows
    return any(
        size - min(_MOST_PARTS, size // 2) < length <= size + min(_MOST_PADDING, size) for size in rows
    )


def _is_column_part(width: int, dims: set[int]) -> bool:
    return any(width * parts in dims for parts in _COLUMN_PARTS)


def _is_flat_part(length: int, rows: set[int], dims: set[int]) -> bool:
    """Whether a length is V · D, or an equal part of it that is no row and no bias."""
    sizes = {size * width for size in rows for width in dims}
    known = rows | dims
    return length not in known and any(
        length * parts == size for size in sizes for parts in range(1, _MOST_PARTS + 1)
    )
