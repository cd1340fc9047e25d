"""What 32 levels stand for, stored as float32: factors, and products of them and levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from survey.onepass.kernels.float_vectors import of_bfloat16, of_float16
from survey.onepass.kernels.jit import ir, operation, types
from survey.onepass.kernels.vectors import (
    FACTOR_VECTOR,
    FACTORS,
    FLOAT32,
    INT8,
    INT16,
    INT32,
    LEVELS,
    constant,
    joined,
    pointer,
    spread_number,
)


def _reading(item: Any, widen: Callable[[Any, Any], Any]) -> Any:
    """Reads a factor at an index of a row.

    It is spread before it is widened: a float16 that is widened alone makes each wait for the one before, as
    the compiler puts it into a register whose rest it keeps.
    """

    @operation
    def factor_at(_typing: Any, packed: Any, index: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            number = builder.load(pointer(context, builder, signature, args, item), align=1)
            return widen(builder, spread_number(builder, number, FACTORS))

        return FACTOR_VECTOR(packed, types.intp), build

    return factor_at


int8_at = _reading(INT8, lambda builder, bytes_: builder.sitofp(bytes_, ir.VectorType(FLOAT32, FACTORS)))
float16_at, bfloat16_at = _reading(INT16, of_float16), _reading(INT16, of_bfloat16)
float32_at = _reading(FLOAT32, lambda builder, floats: floats)


@operation
def no_term(_typing: Any) -> Any:
    """Changes no number that it is added to: -0.0, as 0.0 would change -0.0."""
    return FACTOR_VECTOR(), lambda context, builder, signature, args: constant(FLOAT32, -0.0, FACTORS)


@operation
def scaled(_typing: Any, factor: Any, number: Any) -> Any:
    """factor · an integer."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        number = builder.uitofp(spread_number(builder, args[1], FACTORS), args[0].type)
        return builder.fmul(args[0], number)

    return FACTOR_VECTOR(factor, types.uint8), build


@operation
def divided(_typing: Any, factor: Any, number: Any) -> Any:
    """factor / an integer."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        number = builder.sitofp(spread_number(builder, args[1], FACTORS), args[0].type)
        return builder.fdiv(args[0], number)

    return FACTOR_VECTOR(factor, types.int64), build


@operation
def product(_typing: Any, a: Any, b: Any) -> Any:
    return FACTOR_VECTOR(a, b), lambda context, builder, signature, args: builder.fmul(*args)


@operation
def first_of(_typing: Any, factor: Any) -> Any:
    """The factor as a single number."""
    return types.float32(factor), lambda context, builder, signature, args: builder.extract_element(
        args[0], ir.Constant(INT32, 0)
    )


def _stored(context: Any, builder: Any, signature: Any, args: Sequence[Any], vector: Any) -> Any:
    builder.store(vector, pointer(context, builder, signature, args, vector.type), align=4)
    return context.get_dummy_value()


@operation
def store_products(_typing: Any, values: Any, index: Any, levels: Any, first: Any, second: Any) -> Any:
    """level · factor of signed levels: one factor of the first 16, and one of the others."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        numbers = builder.sitofp(args[2], ir.VectorType(FLOAT32, LEVELS))
        products = builder.fmul(numbers, joined(builder, args[3:], range(LEVELS)))
        return _stored(context, builder, signature, args, products)

    return types.none(values, types.intp, levels, first, second), build


def _with_term(instruction: str) -> Any:
    """level · factor, and a term."""

    @operation
    def store(_typing: Any, values: Any, index: Any, levels: Any, factor: Any, term: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
            numbers = builder.uitofp(args[2], ir.VectorType(FLOAT32, LEVELS))
            factor, term = (joined(builder, (number, number), range(LEVELS)) for number in args[3:])
            both = getattr(builder, instruction)(builder.fmul(numbers, factor), term)
            return _stored(context, builder, signature, args, both)

        return types.none(values, types.intp, levels, factor, term), build

    return store


store_sums, store_differences = _with_term("fadd"), _with_term("fsub")


def _both(builder: Any, factors: Any) -> Any:
    """The factors of 32 levels, from those of both halves."""
    return joined(builder, (builder.extract_value(factors, half) for half in (0, 1)), range(LEVELS))


@operation
def store_affine(
    _typing: Any, values: Any, index: Any, levels: Any, lowest: Any, factors: Any, terms: Any
) -> Any:
    """(level + lowest) · factor + term; factors and terms of the first 16 levels, and of the others."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        numbers = builder.uitofp(args[2], ir.VectorType(FLOAT32, LEVELS))
        numbers = builder.fadd(numbers, spread_number(builder, args[3], LEVELS))
        products = builder.fmul(numbers, _both(builder, args[4]))
        return _stored(context, builder, signature, args, builder.fadd(products, _both(builder, args[5])))

    return types.none(values, types.intp, levels, types.float32, factors, terms), build


def _looked_up(builder: Any, entries: Any, levels: Any) -> Any:
    """Entries [16] of 16 levels; of these steps the compiler makes one instruction, if there is one."""
    numbers = builder.zext(levels, ir.VectorType(INT32, levels.type.count))
    looked_up = ir.Constant(entries.type, ir.Undefined)
    for i in range(levels.type.count):
        at = ir.Constant(INT32, i)
        entry = builder.extract_element(entries, builder.extract_element(numbers, at))
        looked_up = builder.insert_element(looked_up, entry, at)
    return looked_up


@operation
def store_entries(
    _typing: Any, values: Any, index: Any, levels: Any, table: Any, first: Any, factors: Any
) -> Any:
    """The entry of a level below 16 · factor, as in `store_affine`. first: the index of the first entry."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        kind = ir.VectorType(FLOAT32, LEVELS // 2)
        start = builder.bitcast(builder.gep(args[3], [args[4]]), ir.PointerType(kind))
        entries = builder.load(start, align=4)
        halves = (range(LEVELS // 2), range(LEVELS // 2, LEVELS))
        parts = (_looked_up(builder, entries, joined(builder, (args[2], args[2]), half)) for half in halves)
        products = builder.fmul(joined(builder, parts, range(LEVELS)), _both(builder, args[5]))
        return _stored(context, builder, signature, args, products)

    return types.none(values, types.intp, levels, table, types.intp, factors), build


def _of_e4m3(builder: Any, levels: Any) -> Any:
    """float32 of floats of 8 bits: sign, 4 bits of exponent, 3 of mantissa; no infinity."""
    integers, floats = ir.VectorType(INT32, LEVELS), ir.VectorType(FLOAT32, LEVELS)
    wide = builder.zext(levels, integers)
    magnitude = builder.and_(wide, constant(INT32, 0x7F, LEVELS))
    biases = constant(INT32, 120 << 23, LEVELS)  # 7 and 127
    normal = builder.add(builder.shl(magnitude, constant(INT32, 20, LEVELS)), biases)
    no_number = builder.icmp_unsigned("==", magnitude, constant(INT32, 0x7F, LEVELS))
    normal = builder.select(no_number, constant(INT32, 0x7FC00000, LEVELS), normal)
    small = builder.fmul(builder.sitofp(magnitude, floats), constant(FLOAT32, 2.0**-9, LEVELS))
    is_small = builder.icmp_unsigned("<", magnitude, constant(INT32, 8, LEVELS))  # subnormal, or zero
    sign = builder.shl(builder.and_(wide, constant(INT32, 0x80, LEVELS)), constant(INT32, 24, LEVELS))
    bits = builder.or_(builder.select(is_small, builder.bitcast(small, integers), normal), sign)
    return builder.bitcast(bits, floats)


@operation
def store_e4m3(_typing: Any, values: Any, index: Any, levels: Any, factors: Any) -> Any:
    """The float of 8 bits that a level is · factor, factors as in `store_affine`."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        products = builder.fmul(_of_e4m3(builder, args[2]), _both(builder, args[3]))
        return _stored(context, builder, signature, args, products)

    return types.none(values, types.intp, levels, factors), build
