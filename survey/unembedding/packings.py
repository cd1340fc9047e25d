"""Quantised matrices that lie in several tensors of one module, row by row.

A row's levels and factors stand at the same row of each tensor; side by side, they are all that decides its
values. `packing_schemes.py` says which tensors of which schemes are such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from survey.errors import NotThere
from survey.numerics.row_formats import known_row_format
from survey.records.tensors import ByteRange, Piece, TensorSpec
from survey.unembedding.packing_statements import Check

WEIGHT = ".weight"


class PackedShape(NamedTuple):
    """The format of a packed matrix, by its code, and its shape [V, D]."""

    code: str
    rows: int
    dims: int


ShapeOf = Callable[[Sequence[TensorSpec]], PackedShape]


@dataclass(frozen=True, slots=True)
class Packing:
    """Tensors whose rows, side by side, are those of one quantised matrix.

    names: the levels' first, then the factors', then that of what is added. shape_of: of the matrix, from the
    tensors; raises ValueError if they do not fit what the config states. scale: the tensor of one factor for
    the whole matrix, and whether it divides. others: tensors that say how it was made, and nothing more.
    statements: small tensors whose content must fit, too.
    """

    names: tuple[str, ...]
    shape_of: ShapeOf
    scale: tuple[str, bool] | None = None
    others: tuple[str, ...] = ()
    statements: tuple[tuple[str, Check], ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All its tensors."""
        return (*self.names, *(self.scale or ())[:1], *self.others, *(name for name, _ in self.statements))


def packed_spec(packing: Packing, parts: Sequence[TensorSpec], by: str, where: str) -> TensorSpec:
    """The quantised matrix [V, D] made of these tensors. by: the name of its scheme.

    Raises NotThere (`quantised-head`) if they do not fit.
    """
    try:
        code, rows, dims = packing.shape_of(parts)
        form = known_row_format(code)
        if form is None:
            raise ValueError(f"rows of {code} are not read")
        if rows < 1 or any(len(part.bytes) % rows for part in parts):
            raise ValueError(f"they are no {rows:,} rows each")
        widths = [len(part.bytes) // rows for part in parts]
        if sum(widths) != form.row_bytes(dims):
            needed = form.row_bytes(dims)
            raise ValueError(f"a row of {form.code} takes {needed:,} bytes, theirs have {sum(widths):,}")
    except ValueError as error:
        problem = f"{parts[0].name} is {parts[0].dtype}, quantised by {by}: {error}"
        raise NotThere("quantised-head", where, problem) from None
    pieces, column = [], 0
    for part, width in zip(parts, widths, strict=True):
        pieces.append(Piece(TensorSpec(part.name, part.file, "U8", (rows, width), part.bytes), 0, column))
        column += width
    names, files = (
        ", ".join(part.name for part in parts),
        " + ".join(dict.fromkeys(part.file for part in parts)),
    )
    return TensorSpec(names, files, code, (rows, dims), ByteRange(0, rows * column), tuple(pieces))
