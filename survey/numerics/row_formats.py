"""The format of a matrix's rows, by the code that `stored_as` shows: a float, or blocks of codes."""

from __future__ import annotations

from survey.errors import BrokenFile
from survey.numerics.block_formats import BlockFormat
from survey.numerics.dtypes import FLOATS, FloatFormat
from survey.numerics.ggml_types import block_format
from survey.numerics.level_formats import level_format

RowFormat = FloatFormat | BlockFormat


def known_row_format(code: str) -> RowFormat | None:
    """The format of this name; None if rows of it are not measured."""
    return FLOATS.get(code) or level_format(code) or block_format(code)


def row_format_of(code: str, where: str) -> RowFormat:
    """The format of this name. where: named in the message. Raises BrokenFile (`unsupported-dtype`)."""
    if (known := known_row_format(code)) is None:
        expected = f"one of {', '.join(FLOATS)}, or a quantised type that is read"
        raise BrokenFile("unsupported-dtype", where, f"dtype is {code}, expected {expected}")
    return known
