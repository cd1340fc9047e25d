"""Loops that decode a row of packed levels to float32, called by their address.

So the pass over quantised rows is compiled once, and not for each type; and a row's values stay in the cache
until they are summed. Such a loop has the arguments

    packed, values    pointers to the bytes of the row, and to its values, [D]
    dims              D
    numbers, table    pointers to what the type states; many need neither
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.onepass.kernels.jit import address_of, compiled, ir, operation, types

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_POINTER: Any = types.CPointer  # numba leaves it without types
_BYTES, _INTEGERS, _FLOATS = (_POINTER(of) for of in (types.uint8, types.int64, types.float32))
_SIGNATURE = types.void(_BYTES, _FLOATS, types.intp, _INTEGERS, _FLOATS)


def address_of_row_loop(loop: Callable[..., None]) -> int:
    return address_of(loop, _SIGNATURE)


def _row_pointer(builder: Any, array: Any, row: Any) -> Any:
    """To a row of an array [R, N]."""
    stride = builder.extract_value(array.strides, 0)
    start = builder.ptrtoint(array.data, stride.type)
    return builder.inttoptr(builder.add(start, builder.mul(row, stride)), array.data.type)


@operation
def decode_row(
    _typing: Any,
    address: Any,
    numbers: Any,
    table: Any,
    packed: Any,
    row: Any,
    values: Any,
    to: Any,
) -> Any:
    """Call the loop at an address: a row of packed [R, N] becomes the row `to` of values [·, D]."""

    def build(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> Any:
        address, numbers, table, packed, row, values, to = (
            context.make_array(kind)(context, builder, value=value)
            if isinstance(kind, types.Array)
            else value
            for kind, value in zip(signature.args, args, strict=True)
        )
        dims = builder.extract_value(values.shape, 1)
        rows = _row_pointer(builder, packed, row), _row_pointer(builder, values, to)
        given = [*rows, dims, numbers.data, table.data]
        loop = ir.FunctionType(ir.VoidType(), [argument.type for argument in given])
        builder.call(builder.inttoptr(address, ir.PointerType(loop)), given)
        return context.get_dummy_value()

    return types.none(types.intp, numbers, table, packed, types.intp, values, types.intp), build


@compiled
def decode_rows(
    address: int, numbers: NDArray[np.int64], table: Floats, packed: Bytes, values: Floats
) -> None:
    """Set values [R, D] to those of packed rows [R, N], by the loop at an address."""
    for r in range(packed.shape[0]):
        decode_row(address, numbers, table, packed, r, values, r)
