"""Vectors of numbers that loops keep in registers: 8 of float64, 32 words of 16 bits, 8 of 64, or 32 bytes.

numba leaves it to the compiler to make vectors of a loop, which then keeps sums over rows in memory, a store
for each product, and gives up on loops over many arrays. These vectors are LLVM's own: it makes of them what
the processor has, 512 bits or 128. Their arithmetic is that of single numbers: no width changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from survey.onepass.kernels.jit import ir, stored_as, types

FLOATS = 8
WORDS = 32
STRIPE = 8  # words that a hash takes at once
LEVELS, FACTORS = 32, 16

INT8, INT16, INT32, INT64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
FLOAT32, FLOAT64 = ir.FloatType(), ir.DoubleType()
Build = Callable[[Any, Any, Any, Sequence[Any]], Any]  # of LLVM's instructions


class FloatVector(types.Type):
    """8 of float64. exact: products of two are exact in float64."""

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        super().__init__(name=f"FloatVector(exact={exact})")


class WordVector(types.Type):
    """32 words of 16 bits."""

    def __init__(self) -> None:
        super().__init__(name="WordVector")


class StripeVector(types.Type):
    """8 words of 64 bits."""

    def __init__(self) -> None:
        super().__init__(name="StripeVector")


class LevelVector(types.Type):
    """32 levels, bytes each."""

    def __init__(self) -> None:
        super().__init__(name="LevelVector")


class FactorVector(types.Type):
    """The same float32 16 times."""

    def __init__(self) -> None:
        super().__init__(name="FactorVector")


stored_as(ir.VectorType(FLOAT64, FLOATS), FloatVector)
stored_as(ir.VectorType(INT16, WORDS), WordVector)
stored_as(ir.VectorType(INT64, STRIPE), StripeVector)
stored_as(ir.VectorType(INT8, LEVELS), LevelVector)
stored_as(ir.VectorType(FLOAT32, FACTORS), FactorVector)
FLOAT_VECTOR, EXACT_VECTOR, WORD_VECTOR = FloatVector(exact=False), FloatVector(exact=True), WordVector()
STRIPE_VECTOR, LEVEL_VECTOR, FACTOR_VECTOR = StripeVector(), LevelVector(), FactorVector()


def constant(item: Any, value: float, count: int = FLOATS) -> Any:
    return ir.Constant(ir.VectorType(item, count), [value] * count)


def spread_number(builder: Any, number: Any, count: int) -> Any:
    """The same number `count` times."""
    nothing = ir.Constant(ir.VectorType(number.type, count), ir.Undefined)
    one = builder.insert_element(nothing, number, ir.Constant(INT32, 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(INT32, count), [0] * count))


def joined(builder: Any, parts: Iterable[Any], order: Sequence[int]) -> Any:
    """Items of two vectors in this order; those of the second are numbered on."""
    a, b = parts
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(order)), list(order)))


def pointer(context: Any, builder: Any, signature: Any, args: Sequence[Any], vector: Any) -> Any:
    """To a vector that begins at an index of an array [N], or of a pointer; args: begin with these two."""
    start = args[0]
    if isinstance(signature.args[0], types.Array):
        start = context.make_array(signature.args[0])(context, builder, value=start).data
    return builder.bitcast(builder.gep(start, [args[1]]), ir.PointerType(vector))


def loaded(item: Any, count: int, widen: Callable[[Any, Any], Any] = lambda builder, vector: vector) -> Build:
    """Read a vector of an array's items, which need not be aligned."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        start = pointer(context, builder, signature, args, ir.VectorType(item, count))
        return widen(builder, builder.load(start, align=signature.args[0].dtype.bitwidth // 8))

    return build


def stored(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
    vector = context.get_value_type(signature.args[2])
    start = pointer(context, builder, signature, args, vector)
    builder.store(args[2], start, align=signature.args[0].dtype.bitwidth // 8)
    return context.get_dummy_value()
