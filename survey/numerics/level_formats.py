"""Quantised rows of safetensors files: packed levels, then the factors of their groups, then what is added.

The tensors of such a matrix are put side by side, so that a row's bytes are all that decides its values. A
code names the format and the dtype of the factors: `mlx-4bit-g64/BF16`. `stored_as` is what stands before the
slash.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from survey.numerics.block_formats import BlockFormat, Floats32, RowBytes
from survey.numerics.decoding import widen
from survey.numerics.dtypes import FLOATS
from survey.onepass import kernels

# E2M1: sign, 2 bits of exponent, 1 of mantissa (OCP Microscaling Formats 1.0, section 5.3.3)
E2M1: Floats32 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
# bitsandbytes' 4 bits: quantiles of a normal distribution (Dettmers et al., QLoRA, appendix E), and floats
NF4: Floats32 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
     -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
     0.7229568362236023, 1.0], np.float32)  # fmt: skip
_FP4 = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)  # twelfths
BNB_FP4: Floats32 = np.array([*_FP4, *(-number for number in _FP4)], np.float32) / np.float32(12)
WHOLE_BYTES_OF = 8  # levels: whole bytes of any width
_BNB = re.compile(r"(?P<table>nf4|bnb-fp4)-g(?P<group>\d{1,5})/F32")
_INTEGERS = re.compile(
    r"(?P<bnb>bnb-)?int(?P<bits>[248])-(?P<kind>g|row)(?P<group>\d{1,6})(?P<signed>s?)/(?P<dtype>F16|BF16|F32)"
)
_MLX = re.compile(r"mlx-(?P<bits>[234568])bit-g(?P<group>16|32|64|128)/(?P<dtype>F16|BF16|F32)")
_FLOAT_MODES = {"mxfp4": (4, 32, "F8_E8M0"), "mxfp8": (8, 32, "F8_E8M0"), "nvfp4": (4, 16, "F8_E4M3")}


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of `bits`, and groups of `group` elements that share a factor.

    factors: their dtype; divisor: of each of them. table: the number of each level; None if it is the level
    plus `lowest`. offsets: whether each group has a term that is added, of the factors' dtype. signed:
    whether levels are signed bytes. high_first: whether the first of two levels is a byte's upper half.
    """

    bits: int
    group: int
    factors: str
    table: Floats32 | None = None
    lowest: int = 0
    offsets: bool = False
    divisor: float = 1.0
    signed: bool = False
    high_first: bool = False


@cache
def level_format(code: str) -> BlockFormat | None:
    """The format of this code; None if it is none of these."""
    levels = _levels(code)
    if levels is None or levels.group % WHOLE_BYTES_OF or not levels.group:
        return None
    factor_bytes = 1 if levels.factors == "F8_E8M0" else FLOATS[levels.factors].item_bytes
    block_bytes = levels.group * levels.bits // 8 + factor_bytes * (1 + levels.offsets)
    name = re.sub(r"-row\d+s?$", "-row", code.partition("/")[0])
    return BlockFormat(name, levels.group, block_bytes, _decoder(levels, factor_bytes))


def _levels(code: str) -> Levels | None:
    if mode := _FLOAT_MODES.get(code):
        bits, group, factors = mode
        return Levels(bits, group, factors, E2M1 if bits == 4 else _table_of_e4m3())
    if match := _BNB.fullmatch(code):
        table = NF4 if match["table"] == "nf4" else BNB_FP4
        return Levels(4, int(match["group"]), "F32", table, high_first=True)
    if match := _INTEGERS.fullmatch(code):
        bits, divisor = int(match["bits"]), 127.0 if match["bnb"] else 1.0
        lowest, signed = -(1 << (bits - 1)), bool(match["signed"])
        return Levels(bits, int(match["group"]), match["dtype"], None, lowest, divisor=divisor, signed=signed)
    if match := _MLX.fullmatch(code):
        return Levels(int(match["bits"]), int(match["group"]), match["dtype"], offsets=True)
    return None


def _table_of_e4m3() -> Floats32:
    return widen(bytes(range(256)), FLOATS["F8_E4M3"], 1).reshape(-1).astype(np.float32)


def _decoder(levels: Levels, factor_bytes: int) -> Callable[[RowBytes, Floats32], None]:
    bits, group = levels.bits, levels.group

    def decode(rows: RowBytes, values: Floats32) -> None:
        dims = values.shape[1]
        packed_bytes, groups = dims * bits // 8, dims // group
        factors_stop = packed_bytes + groups * factor_bytes
        factors = _numbers(rows[:, packed_bytes:factors_stop], levels.factors, groups)
        factors /= np.float32(levels.divisor)
        packed = _packed(rows[:, :packed_bytes], levels)
        if levels.table is not None:
            kernels.levels.decode_table(packed, bits, levels.table, factors, group, values)
            return
        stored = rows[:, factors_stop:]
        added = _numbers(stored, levels.factors, groups) if levels.offsets else np.zeros_like(factors)
        kernels.levels.decode_integers(packed, bits, levels.lowest, factors, added, group, values)

    return decode


def _packed(stored: RowBytes, levels: Levels) -> RowBytes:
    """The levels' bytes as the loops take them: from the lowest on, the lower half of a byte first."""
    packed = np.ascontiguousarray(stored)
    if levels.high_first:
        packed = ((packed << 4) | (packed >> 4)).astype(np.uint8)
    if levels.signed:
        packed = packed ^ np.uint8(0x80)
    packed.flags.writeable = False  # so that numba compiles one specialisation instead of two
    return packed


def _numbers(stored: RowBytes, dtype: str, groups: int) -> Floats32:
    """Factors [R, groups] from their bytes."""
    flat = np.ascontiguousarray(stored).tobytes()
    if dtype == "F8_E8M0":  # an exponent alone, 255 stands for NaN (OCP MX, section 5.4.1)
        exponents = np.frombuffer(flat, np.uint8).astype(np.int64)
        return (
            np.where(exponents == 255, np.nan, np.ldexp(1.0, exponents - 127))
            .astype(np.float32)
            .reshape(-1, groups)
        )
    return widen(flat, FLOATS[dtype], groups).astype(np.float32)
