"""Rows of packed levels: every format has the values of its definition, bit for bit, and reads its row alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from survey.numerics.block_formats import BlockFormat
from survey.numerics.ggml_types import COMPILED
from survey.numerics.level_formats import BNB_FP4, E2M1, NF4
from survey.numerics.row_formats import row_format_of

DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "E8M0": torch.float8_e8m0fnu,
    "E4M3": torch.float8_e4m3fn,
}


def widened(stored: NDArray[np.uint8], dtype: str) -> NDArray[np.float32]:
    values: NDArray[np.float32] = torch.from_numpy(stored.copy()).view(DTYPES[dtype]).float().numpy()
    return values


E4M3 = widened(np.arange(256, dtype=np.uint8), "E4M3")


@dataclass(frozen=True)
class Definition:
    """number(level) · factor / divisor + term; numbers: those of all levels."""

    numbers: NDArray[np.float32]
    bits: int
    group: int
    factors: str
    terms: bool = False
    divisor: int = 1
    order: Literal["low half first", "high half first"] = "low half first"

    def values(self, rows: NDArray[np.uint8], dims: int) -> NDArray[np.float32]:
        """Of rows [R, bytes]."""
        packed_bytes, groups = dims * self.bits // 8, dims // self.group
        packed = rows[:, :packed_bytes]
        if self.order == "high half first":
            packed = (packed << 4 | packed >> 4).astype(np.uint8)
        bits = np.unpackbits(packed, axis=1, bitorder="little").reshape(len(rows), dims, self.bits)
        levels = (bits.astype(np.int64) << np.arange(self.bits)).sum(axis=2)
        behind = widened(rows[:, packed_bytes:], self.factors)
        spread = np.repeat(behind.reshape(len(rows), -1, groups), self.group, axis=2)
        products: NDArray[np.float32] = self.numbers[levels] * (spread[:, 0] / np.float32(self.divisor))
        return products + spread[:, 1] if self.terms else products


def integers(bits: int, lowest: int) -> NDArray[np.float32]:
    return (np.arange(1 << bits) + lowest).astype(np.float32)


SIGNED_BYTES = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
FORMATS = {
    **{
        f"mlx-{bits}bit-g{group}/{dtype}": Definition(integers(bits, 0), bits, group, dtype, terms=True)
        for dtype, widths in {
            "F16": [(2, 16), (2, 32), (5, 128), (8, 64)],
            "BF16": [(3, 64), (4, 64), (6, 64), (8, 16)],
            "F32": [(4, 16), (6, 32)],
        }.items()
        for bits, group in widths
    },
    **{
        f"int{bits}-g{group}/BF16": Definition(integers(bits, -(1 << bits - 1)), bits, group, "BF16")
        for bits, group in [(2, 8), (2, 32), (4, 24), (4, 128), (8, 40), (8, 48), (8, 96)]
    },
    "int8-row72s/F32": Definition(SIGNED_BYTES, 8, 72, "F32"),
    "int8-row64s/F16": Definition(SIGNED_BYTES, 8, 64, "F16"),
    "bnb-int8-row64s/F32": Definition(SIGNED_BYTES, 8, 64, "F32", divisor=127),
    "nf4-g64/F32": Definition(NF4, 4, 64, "F32", order="high half first"),
    "nf4-g40/F32": Definition(NF4, 4, 40, "F32", order="high half first"),
    "bnb-fp4-g32/F32": Definition(BNB_FP4, 4, 32, "F32", order="high half first"),
    "nvfp4": Definition(E2M1, 4, 16, "E4M3"),
    "mxfp4": Definition(E2M1, 4, 32, "E8M0"),
    "mxfp8": Definition(E4M3, 8, 32, "E8M0"),
}


@pytest.mark.filterwarnings("ignore:overflow|invalid:RuntimeWarning")  # random factors
@pytest.mark.parametrize("code", FORMATS)
@pytest.mark.parametrize("groups", [1, 2, 5, 16])
def test_a_random_row_has_the_values_of_its_definition(code: str, groups: int) -> None:
    form, definition = row_format_of(code, code), FORMATS[code]
    dims = definition.group * (1 if "-row" in code else groups)
    assert isinstance(form, BlockFormat)
    rows = np.random.default_rng(groups).integers(0, 256, (7, form.row_bytes(dims)), dtype=np.uint8)
    rows[3:] &= 0x3F  # finite, most of them
    ours, expected = form.values(rows.tobytes(), dims), definition.values(rows, dims)
    equal = (ours.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(ours) & np.isnan(expected))
    assert equal.all()


BEFORE_A_FORBIDDEN_PAGE = """
import ctypes, mmap, sys
import numpy as np
from survey.numerics.row_formats import row_format_of
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + page), page, 0) == 0
for code in sys.argv[1:]:
    form = row_format_of(code, code)
    for blocks in (1, 2, 3):
        size = form.row_bytes(blocks * form.elements)
        form.values(memoryview(memory)[page - size : page], blocks * form.elements)
    print(code)
"""


def test_no_loop_reads_behind_its_row() -> None:
    codes = [*FORMATS, *COMPILED]
    ran = subprocess.run(
        [sys.executable, "-c", BEFORE_A_FORBIDDEN_PAGE, *codes], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout.split()) == (0, codes), ran.stderr
