"""Quantised rows: blocks of neighbouring elements share factors; a row is whole blocks, coded by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.onepass import kernels
from survey.records.blocks import Block

RowBytes = NDArray[np.uint8]
Floats32 = NDArray[np.float32]
DecodeRows = Callable[[RowBytes, Floats32], None]  # rows [R, bytes of a row] -> values [R, D], filled
RowLoop = tuple[int, NDArray[np.int64], Floats32]  # a compiled loop's address, and what its type states
CompiledLoop = Callable[[], RowLoop]  # the first call loads the compiler


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """A quantised format. code: its name in `stored_as`. elements, block_bytes: of a block.

    decode: fills the values [R, D], in float32, of rows [R, bytes of a row]. loop: does so for one row in the
    pass, which then keeps no values; None if the type has no compiled loop. layout: the name that tells it
    from formats of the same code whose bytes mean other values; empty if there are none.
    """

    code: str
    elements: int
    block_bytes: int
    decode: DecodeRows
    loop: CompiledLoop | None = None
    layout: str = ""

    def row_bytes(self, dims: int) -> int:
        """RowBytes of a row of D = `dims` elements, a multiple of `elements`."""
        return dims // self.elements * self.block_bytes

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.block_bytes / self.elements

    @property
    def exponent_values(self) -> int:
        """Number of values of the exponent field: codes have none."""
        return 0

    @property
    def half_step(self) -> float:
        """How far rounding moves a row, as a share of its length: about a quarter of half a level's step.

        At most 1/16, so that rows of few bits are not all taken for neighbours.
        """
        return min(2.0 ** -int(self.bits_per_weight), 1 / 16)

    def values(self, stored: bytes | Block, dims: int) -> Floats32:
        """Rows of D = `dims` elements as float32, [R, D]."""
        rows = np.frombuffer(stored, np.uint8).reshape(-1, self.row_bytes(dims))
        rows.flags.writeable = False  # so that numba compiles one specialisation instead of two
        values = np.empty((len(rows), dims), np.float32)
        self.decode(rows, values)
        return values


def decoded_by(loop: CompiledLoop) -> DecodeRows:
    def decode(rows: RowBytes, values: Floats32) -> None:
        kernels.row_loops.decode_rows(*loop(), rows, values)

    return decode
