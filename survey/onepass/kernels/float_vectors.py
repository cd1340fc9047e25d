"""Vectors of 8 numbers of float64, as they are stored, and their sums of products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from survey.onepass.kernels.jit import ir, operation, types, widens_float16
from survey.onepass.kernels.vectors import (
    EXACT_VECTOR,
    FLOAT32,
    FLOAT64,
    FLOAT_VECTOR,
    FLOATS,
    INT16,
    INT32,
    constant,
    loaded,
    spread_number,
    stored,
)


def _widened(builder: Any, vector: Any) -> Any:
    return builder.fpext(vector, ir.VectorType(FLOAT64, FLOATS))


def of_bfloat16(builder: Any, words: Any) -> Any:
    """float32 of a vector of bfloat16: their bits are the upper half."""
    count = words.type.count
    wide = builder.shl(builder.zext(words, ir.VectorType(INT32, count)), constant(INT32, 16, count))
    return builder.bitcast(wide, ir.VectorType(FLOAT32, count))


def of_float16(builder: Any, words: Any) -> Any:
    """float32 of a vector of float16; by its bits if the processor has no instruction for it."""
    floats, integers = (ir.VectorType(item, words.type.count) for item in (FLOAT32, INT32))
    if widens_float16():
        return builder.fpext(builder.bitcast(words, ir.VectorType(ir.HalfType(), words.type.count)), floats)

    def number(value: int) -> Any:
        return constant(INT32, value, words.type.count)

    wide = builder.zext(words, integers)
    magnitude = builder.and_(wide, number(0x7FFF))
    biases = number(112 << 23)  # 15 and 127
    normal = builder.add(builder.shl(magnitude, number(13)), biases)
    no_number = builder.icmp_unsigned(">=", magnitude, number(0x7C00))
    normal = builder.select(no_number, builder.add(normal, biases), normal)
    tiny = constant(FLOAT32, 2.0**-24, words.type.count)
    small = builder.bitcast(builder.fmul(builder.sitofp(magnitude, floats), tiny), integers)
    is_small = builder.icmp_unsigned("<", magnitude, number(0x400))  # subnormal, or zero
    sign = builder.shl(builder.and_(wide, number(0x8000)), number(16))
    return builder.bitcast(builder.or_(builder.select(is_small, small, normal), sign), floats)


@operation
def no_floats(_typing: Any) -> Any:
    """Zeros."""
    return FLOAT_VECTOR(), lambda context, builder, signature, args: constant(FLOAT64, 0.0)


@operation
def load_floats(_typing: Any, array: Any, index: Any) -> Any:
    """8 of an array's float32 or float64, from an index on."""
    if array.dtype == types.float32:
        return EXACT_VECTOR(array, types.intp), loaded(FLOAT32, FLOATS, _widened)
    return FLOAT_VECTOR(array, types.intp), loaded(FLOAT64, FLOATS)


@operation
def load_bfloat16(_typing: Any, array: Any, index: Any) -> Any:
    """As `load_floats`, of words that are bfloat16."""
    return EXACT_VECTOR(array, types.intp), loaded(
        INT16, FLOATS, lambda builder, words: _widened(builder, of_bfloat16(builder, words))
    )


@operation
def load_float16(_typing: Any, array: Any, index: Any) -> Any:
    """As `load_floats`, of words that are float16."""
    return EXACT_VECTOR(array, types.intp), loaded(
        INT16, FLOATS, lambda builder, words: _widened(builder, of_float16(builder, words))
    )


@operation
def store_floats(_typing: Any, array: Any, index: Any, floats: Any) -> Any:
    return types.none(array, types.intp, floats), stored


@operation
def add_floats(_typing: Any, a: Any, b: Any) -> Any:
    return FLOAT_VECTOR(a, b), lambda context, builder, signature, args: builder.fadd(*args)


def _product(builder: Any, a: Any, b: Any, exact: bool) -> Any:
    """a·b. If it is exact, an addition may be one instruction with it: it rounds once, as two do then."""
    return builder.fmul(a, b, flags=("contract",) if exact else ())


def _sum(builder: Any, total: Any, added: Any, exact: bool) -> Any:
    return builder.fadd(total, added, flags=("contract",) if exact else ())


@operation
def multiply(_typing: Any, a: Any, b: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        return _product(builder, args[0], args[1], a.exact)

    return FLOAT_VECTOR(a, b), build


@operation
def weighted(_typing: Any, a: Any, weight: Any) -> Any:
    """a · a number of 24 bits."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        return _product(builder, args[0], spread_number(builder, args[1], FLOATS), a.exact)

    return FLOAT_VECTOR(a, types.float64), build


@operation
def add_product(_typing: Any, total: Any, a: Any, b: Any) -> Any:
    """total + a·b."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        return _sum(builder, args[0], _product(builder, args[1], args[2], a.exact), a.exact)

    return FLOAT_VECTOR(total, a, b), build


@operation
def add_weighted(_typing: Any, total: Any, a: Any, weight: Any) -> Any:
    """total + a · a number of 24 bits."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        factor = spread_number(builder, args[2], FLOATS)
        return _sum(builder, args[0], _product(builder, args[1], factor, a.exact), a.exact)

    return FLOAT_VECTOR(total, a, types.float64), build
