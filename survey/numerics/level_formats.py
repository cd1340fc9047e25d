"""Quantised rows of safetensors files: packed levels, then the factors of their groups, then what is added.

The tensors of such a matrix are put side by side, so that a row's bytes are all that decides its values. A
code names the format and the dtype of the factors: `mlx-4bit-g64/BF16`. `stored_as` is what stands before the
slash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from survey.numerics.block_formats import BlockFormat, Floats32, RowLoop, decoded_by
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
FLOAT_MODES = {"mxfp4": (4, 32, "F8_E8M0"), "mxfp8": (8, 32, "F8_E8M0"), "nvfp4": (4, 16, "F8_E4M3")}


def _table_of_e4m3() -> Floats32:
    return widen(bytes(range(256)), FLOATS["F8_E4M3"], 1).reshape(-1).astype(np.float32)


def _table_of_e8m0() -> Floats32:
    """An exponent alone; 255 stands for NaN (OCP MX, section 5.4.1)."""
    powers = np.ldexp(np.float64(1.0), np.arange(256) - 127)
    return np.where(np.arange(256) == 255, np.nan, powers).astype(np.float32)


E4M3 = _table_of_e4m3()
_BYTE_FACTORS = {"F8_E4M3": E4M3, "F8_E8M0": _table_of_e8m0()}


@dataclass(frozen=True, slots=True, eq=False)
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
    divisor: int = 1
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
    loop = partial(_loop, levels)
    return BlockFormat(name, levels.group, block_bytes, decoded_by(loop), loop, code)


def _levels(code: str) -> Levels | None:
    if mode := FLOAT_MODES.get(code):
        bits, group, factors = mode
        return Levels(bits, group, factors, E2M1 if bits == 4 else E4M3)
    if match := _BNB.fullmatch(code):
        table = NF4 if match["table"] == "nf4" else BNB_FP4
        return Levels(4, int(match["group"]), "F32", table, high_first=True)
    if match := _INTEGERS.fullmatch(code):
        bits, divisor = int(match["bits"]), 127 if match["bnb"] else 1
        lowest, signed = -(1 << (bits - 1)), bool(match["signed"])
        return Levels(bits, int(match["group"]), match["dtype"], None, lowest, divisor=divisor, signed=signed)
    if match := _MLX.fullmatch(code):
        return Levels(int(match["bits"]), int(match["group"]), match["dtype"], offsets=True)
    return None


@cache
def _loop(levels: Levels) -> RowLoop:
    kernel, table = kernels.levels, levels.table
    dtypes = {"F16": kernel.FLOAT16, "BF16": kernel.BFLOAT16, "F32": kernel.FLOAT32}
    stated = {
        "bits": levels.bits,
        "group": levels.group,
        "dtype": dtypes.get(levels.factors, kernel.BY_TABLE),
        "divisor": levels.divisor,
        "terms": levels.offsets,
        "lowest": levels.lowest,
        "flip": 0x80 if levels.signed else 0,
    }
    entries = np.zeros(kernel.ALL_ENTRIES, np.float32)
    entries[: kernel.FACTOR_ENTRIES] = _BYTE_FACTORS.get(levels.factors, 0.0)
    if table is not None:
        entries[kernel.FACTOR_ENTRIES :][: len(table)] = table
    if table is None:
        loop = {4: kernel.integers_4, 8: kernel.integers_8}.get(levels.bits, kernel.integers)
    elif levels.bits == 8:
        loop = kernel.e4m3
    else:
        loop = kernel.entries_high_first if levels.high_first else kernel.entries
    numbers = np.array([stated[name] for name in kernel.STATED], np.int64)
    return kernels.row_loops.address_of_row_loop(loop), numbers, entries
