"""Vectors of 32 levels, a byte each, from rows that begin at a pointer: whatever its address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from survey.onepass.kernels.jit import ir, operation, types
from survey.onepass.kernels.vectors import (
    INT8,
    INT32,
    INT64,
    LEVEL_VECTOR,
    LEVELS,
    Build,
    constant,
    joined,
    loaded,
    pointer,
    spread_number,
)

EIGHT = 8  # levels: whole bytes of any width


@operation
def load_levels(_typing: Any, packed: Any, index: Any) -> Any:
    """Levels of 8 bits."""
    return LEVEL_VECTOR(packed, types.intp), loaded(INT8, LEVELS)


@operation
def load_halves(_typing: Any, packed: Any, index: Any) -> Any:
    """Levels of 4 bits: the lower halves of 16 bytes, then the upper ones."""

    def widen(builder: Any, sixteen: Any) -> Any:
        lower = builder.and_(sixteen, constant(INT8, 15, LEVELS // 2))
        upper = builder.lshr(sixteen, constant(INT8, 4, LEVELS // 2))
        return joined(builder, (lower, upper), range(LEVELS))

    return LEVEL_VECTOR(packed, types.intp), loaded(INT8, LEVELS // 2, widen)


@operation
def load_nibbles(_typing: Any, packed: Any, index: Any, first_bit: Any) -> Any:
    """Levels of 4 bits: of each of 16 bytes that which begins with this bit, 0 or 4, then the other."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        half = LEVELS // 2
        start = pointer(context, builder, signature, args, ir.VectorType(INT8, half))
        packed, first, mask = builder.load(start, align=1), args[2], constant(INT8, 15, half)
        second = builder.sub(ir.Constant(INT8, 4), first)
        both = (builder.lshr(packed, spread_number(builder, bit, half)) for bit in (first, second))
        order = [which * half + byte for byte in range(half) for which in range(2)]
        return joined(builder, (builder.and_(levels, mask) for levels in both), order)

    return LEVEL_VECTOR(packed, types.intp, types.uint8), build


@operation
def load_narrow(_typing: Any, packed: Any, index: Any, bits: Any) -> Any:
    """Levels of less than 8 bits, the lowest first, of which 8 are `bits` bytes. Reads 3 · bits + 8 bytes."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        bits, wide = args[2], ir.VectorType(INT64, EIGHT)
        shifts = builder.mul(spread_number(builder, bits, EIGHT), ir.Constant(wide, list(range(EIGHT))))
        mask = builder.sub(builder.shl(ir.Constant(INT64, 1), bits), ir.Constant(INT64, 1))
        masks, parts = spread_number(builder, mask, EIGHT), []
        for part in range(LEVELS // EIGHT):
            at = builder.add(args[1], builder.mul(bits, ir.Constant(INT64, part)))
            word = builder.load(pointer(context, builder, signature, (args[0], at), INT64), align=1)
            levels = builder.and_(builder.lshr(spread_number(builder, word, EIGHT), shifts), masks)
            parts.append(builder.trunc(levels, ir.VectorType(INT8, EIGHT)))
        lower, upper = (joined(builder, parts[at : at + 2], range(2 * EIGHT)) for at in (0, 2))
        return joined(builder, (lower, upper), range(LEVELS))

    return LEVEL_VECTOR(packed, types.intp, types.int64), build


@operation
def load_bits(_typing: Any, packed: Any, index: Any) -> Any:
    """32 bits, the lowest first: each a level of 0 or 255."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        word = builder.load(pointer(context, builder, signature, args, INT32), align=1)
        bits = builder.bitcast(word, ir.VectorType(ir.IntType(1), LEVELS))
        return builder.sext(bits, ir.VectorType(INT8, LEVELS))

    return LEVEL_VECTOR(packed, types.intp), build


def _by_number(name: str) -> Build:
    """An instruction on all levels and one number."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        return getattr(builder, name)(args[0], spread_number(builder, args[1], LEVELS))

    return build


@operation
def bits_of(_typing: Any, levels: Any, mask: Any) -> Any:
    """Of each level the bits of a mask."""
    return LEVEL_VECTOR(levels, types.uint8), _by_number("and_")


@operation
def shifted_up(_typing: Any, levels: Any, bits: Any) -> Any:
    return LEVEL_VECTOR(levels, types.uint8), _by_number("shl")


@operation
def shifted_down(_typing: Any, levels: Any, bits: Any) -> Any:
    return LEVEL_VECTOR(levels, types.uint8), _by_number("lshr")


@operation
def lowered(_typing: Any, levels: Any, number: Any) -> Any:
    """Levels minus a number, which are signed then."""
    return LEVEL_VECTOR(levels, types.uint8), _by_number("sub")


@operation
def flipped(_typing: Any, levels: Any, mask: Any) -> Any:
    """Levels whose bits of a mask are others."""
    return LEVEL_VECTOR(levels, types.uint8), _by_number("xor")


@operation
def either(_typing: Any, a: Any, b: Any) -> Any:
    """The bits that are set in one of two levels or in both."""
    return LEVEL_VECTOR(a, b), lambda context, builder, signature, args: builder.or_(*args)


@operation
def byte_at(_typing: Any, packed: Any, index: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        return builder.load(pointer(context, builder, signature, args, INT8))

    return types.uint8(packed, types.intp), build
