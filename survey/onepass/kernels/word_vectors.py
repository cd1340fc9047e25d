"""Vectors of 32 words of 16 bits, and of the bits in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from survey.onepass.kernels.jit import ir, operation, types
from survey.onepass.kernels.vectors import (
    INT16,
    WORD_VECTOR,
    WORDS,
    constant,
    loaded,
    pointer,
    spread_number,
    stored,
)


@operation
def load_words(_typing: Any, array: Any, index: Any) -> Any:
    """32 of an array's words of 16 bits, from an index on."""
    return WORD_VECTOR(array, types.intp), loaded(INT16, WORDS)


def _upper_of(bits: int) -> Any:
    """The upper words of 32 numbers of so many bits, and of these the bits of a mask."""

    @operation
    def upper_words(_typing: Any, array: Any, index: Any, mask: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            numbers = ir.VectorType(ir.IntType(bits), WORDS)
            vector = builder.load(pointer(context, builder, signature, args, numbers), align=1)
            shift = ir.Constant(numbers, [bits - 16] * WORDS)
            words = builder.trunc(builder.lshr(vector, shift), ir.VectorType(INT16, WORDS))
            return builder.and_(words, spread_number(builder, args[2], WORDS))

        return WORD_VECTOR(array, types.intp, types.uint16), build

    return upper_words


upper_of_32, upper_of_64 = _upper_of(32), _upper_of(64)


@operation
def store_words(_typing: Any, array: Any, index: Any, words: Any) -> Any:
    return types.none(array, types.intp, words), stored


@operation
def one_hot(_typing: Any, fields: Any, top: Any, lowest: Any, shift: Any) -> Any:
    """1 << level: how far a field lies below the top, at most `lowest`, in units of 1 << shift."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        fields, *scalars = args
        top, lowest, shift = (spread_number(builder, scalar, WORDS) for scalar in scalars)
        below = builder.sub(top, fields)
        level = builder.select(builder.icmp_unsigned("<", below, lowest), below, lowest)
        return builder.shl(constant(INT16, 1, WORDS), builder.lshr(level, shift))

    scalar = types.uint16
    return WORD_VECTOR(WORD_VECTOR, scalar, scalar, scalar), build


@operation
def sum_bits(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    """The lower bit of the sum of three bits, for each bit of words."""
    return WORD_VECTOR(a, b, c), lambda context, builder, signature, args: builder.xor(
        builder.xor(args[0], args[1]), args[2]
    )


@operation
def carry_bits(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    """The upper bit of the sum of three bits."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        a, b, c = args
        return builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))

    return WORD_VECTOR(a, b, c), build


@operation
def add_bit(_typing: Any, total: Any, words: Any, bit: Any) -> Any:
    """total + the bit of this number of each word."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        total, words, bit = args
        shifted = builder.lshr(words, spread_number(builder, bit, WORDS))
        return builder.add(total, builder.and_(shifted, constant(INT16, 1, WORDS)))

    return WORD_VECTOR(total, words, types.uint16), build


@operation
def add_words(_typing: Any, a: Any, b: Any) -> Any:
    return WORD_VECTOR(a, b), lambda context, builder, signature, args: builder.add(*args)


@operation
def or_words(_typing: Any, a: Any, b: Any) -> Any:
    return WORD_VECTOR(a, b), lambda context, builder, signature, args: builder.or_(*args)


def _bits_of(builder: Any, flags: Any) -> Any:
    """A word of 32 bits of as many flags, the first the lowest."""
    return builder.bitcast(flags, ir.IntType(WORDS))


@operation
def negative_words(_typing: Any, words: Any) -> Any:
    """A bit for each word: whether its highest bit is set."""
    return types.uint32(words), lambda context, builder, signature, args: _bits_of(
        builder, builder.icmp_signed("<", args[0], constant(INT16, 0, WORDS))
    )


@operation
def zero_words(_typing: Any, words: Any) -> Any:
    """A bit for each word: whether it is 0."""
    return types.uint32(words), lambda context, builder, signature, args: _bits_of(
        builder, builder.icmp_unsigned("==", args[0], constant(INT16, 0, WORDS))
    )


@operation
def bit_count(_typing: Any, bits: Any) -> Any:
    """How many bits are set."""
    return types.uint32(types.uint32), lambda context, builder, signature, args: builder.ctpop(args[0])


@operation
def lowest_bit(_typing: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set; at least one is."""
    return types.uint32(types.uint32), lambda context, builder, signature, args: builder.cttz(
        args[0], ir.Constant(ir.IntType(1), 1)
    )
