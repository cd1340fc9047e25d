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

from survey.numerics.block_formats import BlockFormat, Bytes, Floats32
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
EIGHT = 8  # levels: whole bytes of any width
_BNB = re.compile(r"(?P<table>nf4|bnb-fp4)-g(?P<group>\d{1,5})/F32")
_INTEGERS = re.compile(
    r"(?P<bnb>bnb-)?int(?P<bits>[248])-(?P<kind>g|row)(?P<group>\d{1,6})(?P<signed>s?)/(?P<dtype>F16|BF16|F32)"
)
_MLX = re.compile(r"mlx-(?P<bits>[234568])bit-g(?P<group>16|32|64|128)/(?P<dtype>F16|BF16|F32)")
_FLOAT_MODES = {"mxfp4": (4, 32, "F8_E8M0"), "mxfp8": (8, 32, "F8_E8M0"), "nvfp4": (4, 16, "F8_E4M3")}


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of `bits`, their numbers (`table`), and groups of `group` elements that share a factor.

    factors: their dtype; divisor: of each of them. offsets: whether each group has a term that is added, of
    the same dtype. high_first: whether the first of two levels in a byte is its upper half.
    """

    bits: int
    table: Floats32
    group: int
    factors: str
    offsets: bool = False
    divisor: float = 1.0
    high_first: bool = False


@cache
def level_format(code: str) -> BlockFormat | None:
    """The format of this code; None if it is none of these."""
    levels = _levels(code)
    if levels is None or levels.group % EIGHT or not levels.group:
        return None
    factor_bytes = 1 if levels.factors == "F8_E8M0" else FLOATS[levels.factors].item_bytes
    block_bytes = levels.group * levels.bits // 8 + factor_bytes * (1 + levels.offsets)
    name = re.sub(r"-row\d+s?$", "-row", code.partition("/")[0])
    return BlockFormat(name, levels.group, block_bytes, _decoder(levels, factor_bytes))


def _levels(code: str) -> Levels | None:
    if mode := _FLOAT_MODES.get(code):
        bits, group, factors = mode
        return Levels(bits, E2M1 if bits == 4 else _table_of_e4m3(), group, factors)
    if match := _BNB.fullmatch(code):
        table = NF4 if match["table"] == "nf4" else BNB_FP4
        return Levels(4, table, int(match["group"]), "F32", high_first=True)
    if match := _INTEGERS.fullmatch(code):
        return _integers(match)
    if (match := _MLX.fullmatch(code)) is None:
        return None
    bits = int(match["bits"])
    return Levels(
        bits, np.arange(1 << bits, dtype=np.float32), int(match["group"]), match["dtype"], offsets=True
    )


def _integers(match: re.Match[str]) -> Levels:
    """Integers around zero: signed bytes, or levels from the lowest on."""
    bits = int(match["bits"])
    table = np.arange(1 << bits, dtype=np.float32) - (1 << (bits - 1))
    if match["signed"]:
        table = np.roll(table, 1 << (bits - 1))
    divisor = 127.0 if match["bnb"] else 1.0
    return Levels(bits, table, int(match["group"]), match["dtype"], divisor=divisor)


def _table_of_e4m3() -> Floats32:
    return widen(bytes(range(256)), FLOATS["F8_E4M3"], 1).reshape(-1).astype(np.float32)


def _decoder(levels: Levels, factor_bytes: int) -> Callable[[Bytes, Floats32], None]:
    def decode(rows: Bytes, values: Floats32) -> None:
        dims = values.shape[1]
        packed_bytes, groups = dims * levels.bits // 8, dims // levels.group
        factors_stop = packed_bytes + groups * factor_bytes
        factors = _numbers(rows[:, packed_bytes:factors_stop], levels.factors, groups)
        added = _numbers(rows[:, factors_stop:], levels.factors, groups) if levels.offsets else 0 * factors
        factors /= np.float32(levels.divisor)
        packed = np.ascontiguousarray(rows[:, :packed_bytes])
        if levels.high_first:
            packed = ((packed << 4) | (packed >> 4)).astype(np.uint8)
        packed.flags.writeable = False
        kernels.levels.decode_levels(packed, levels.bits, levels.table, factors, added, levels.group, values)

    return decode


def _numbers(stored: Bytes, dtype: str, groups: int) -> Floats32:
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
