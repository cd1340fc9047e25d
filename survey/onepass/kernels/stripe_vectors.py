"""Stripes of a hash: vectors of 8 words of 64 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from survey.onepass.kernels.jit import ir, operation, types
from survey.onepass.kernels.vectors import (
    INT32,
    INT64,
    STRIPE,
    STRIPE_VECTOR,
    constant,
    loaded,
    spread_number,
    stored,
)


def _numbers(value: int) -> Any:
    return constant(INT64, value, STRIPE)


@operation
def no_words(_typing: Any) -> Any:
    """Zeros."""
    return STRIPE_VECTOR(), lambda context, builder, signature, args: _numbers(0)


@operation
def load_stripe(_typing: Any, array: Any, index: Any) -> Any:
    """64 bytes of an array of bytes, or 8 of an array's words, from an index on."""
    return STRIPE_VECTOR(array, types.intp), loaded(INT64, STRIPE)


@operation
def store_stripe(_typing: Any, array: Any, index: Any, stripe: Any) -> Any:
    return types.none(array, types.intp, stripe), stored


@operation
def add_stripes(_typing: Any, a: Any, b: Any) -> Any:
    return STRIPE_VECTOR(a, b), lambda context, builder, signature, args: builder.add(*args)


@operation
def add_halves_product(_typing: Any, total: Any, words: Any, keys: Any) -> Any:
    """total + the product of the two halves of each word, after an exclusive or with its key."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        total, words, keys = args
        keyed = builder.xor(words, keys)
        lower, upper = builder.and_(keyed, _numbers(0xFFFFFFFF)), builder.lshr(keyed, _numbers(32))
        return builder.add(total, builder.mul(lower, upper))

    return STRIPE_VECTOR(total, words, keys), build


@operation
def swap_neighbours(_typing: Any, words: Any) -> Any:
    """The second word before the first, the fourth before the third, and so on."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        order = ir.Constant(ir.VectorType(INT32, STRIPE), [1, 0, 3, 2, 5, 4, 7, 6])
        return builder.shuffle_vector(args[0], args[0], order)

    return STRIPE_VECTOR(words), build


@operation
def scrambled(_typing: Any, words: Any, keys: Any, factor: Any) -> Any:
    """XXH3's scrambling between blocks."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        words, keys, factor = args
        mixed = builder.xor(builder.xor(words, builder.lshr(words, _numbers(47))), keys)
        return builder.mul(mixed, spread_number(builder, factor, STRIPE))

    return STRIPE_VECTOR(words, keys, types.uint64), build
