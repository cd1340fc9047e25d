"""Quantised rows, F16 and F32: their decoding against `gguf`, and their pass against BF16 of the same shape.

python -m tests.bench.quantised [--rows 32768] [--dims 2560] [--threads 2]

A pass reads a row's bytes three times (to hash, to count exponents, to sum), from the second cache after the first
time: the column "hash" says what the first alone costs. By it F32, of twice the bytes, cannot reach BF16.

The bytes lie in memory. CPU seconds are of the best of several turns in which all types alternate, so that other
work on the machine changes ratios little. Decoding by the package is of one turn and fewer rows: it is slow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import gguf
import numpy as np
from numpy.typing import NDArray

from survey.numerics.block_formats import BlockFormat
from survey.numerics.dtypes import FLOATS
from survey.numerics.ggml_types import COMPILED, block_size
from survey.numerics.level_formats import level_format
from survey.numerics.row_decoder import RowDecoder
from survey.numerics.row_formats import RowFormat, row_format_of
from survey.onepass.fold import fold
from survey.onepass.kernels.xxh3 import hash_rows

TURNS, PEER_ROWS, SLAB_ROWS = 7, 256, 256
FLOAT_CODES = ("BF16", "F16", "F32")
MLX = ("mlx-4bit-g64/BF16", "mlx-6bit-g64/BF16", "mlx-8bit-g64/BF16", "nvfp4", "mxfp4", "mxfp8")
# Where a block's float16 factors stand: random ones would be infinite or not numbers.
FACTORS = {"Q4_1": (0, 2), "Q5_1": (0, 2), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}


def rows_of(code: str, rows: int, dims: int) -> NDArray[np.uint8]:
    """Random codes with small factors, [rows, bytes of a row]."""
    dice = np.random.default_rng(1)
    stored = dice.integers(0, 256, (rows, row_format_of(code, code).row_bytes(dims)), dtype=np.uint8)
    if code in COMPILED:
        blocks = stored.reshape(rows, -1, block_size(code)[1])
        for at in FACTORS.get(code, (0,)):
            blocks[:, :, at + 1] = 0x0C  # some ten-thousandths
    elif (form := level_format(code)) is not None and code.endswith("/BF16"):
        levels_bytes = dims * int(form.bits_per_weight) // 8  # factors and terms follow, in bfloat16
        stored[:, levels_bytes + 1 :: 2] = 0x39  # some ten-thousandths
    elif code in MLX:
        factors = stored[:, dims * (8 if code == "mxfp8" else 4) // 8 :]
        factors &= 0x07
        factors += 0x28 if code == "nvfp4" else 0x74  # E4M3 near 2^-2, or E8M0 near 2^-7
    else:
        values = dice.normal(0.01, 0.02, (rows, dims)).astype(np.float16 if code == "F16" else np.float32)
        stored = values.view(np.uint8)
        if code == "BF16":
            stored = (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    return stored


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def one_pass(stored: NDArray[np.uint8], form: RowFormat, dims: int, threads: int) -> None:
    with fold([stored.data.cast("B")], form, (len(stored), dims), "cpu", threads=threads):
        pass


def hashed(stored: NDArray[np.uint8]) -> None:
    hash_rows(stored, np.empty((len(stored), 2), np.uint64))


def decoded(stored: NDArray[np.uint8], form: RowFormat, dims: int) -> None:
    decoder = RowDecoder(form, dims)
    for start in range(0, len(stored), SLAB_ROWS):
        decoder.values(stored[start : start + SLAB_ROWS].data.cast("B"), start)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("--rows", 32_768), ("--dims", 2_560), ("--threads", 2)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    rows, dims = options.rows, options.dims
    forms: dict[str, RowFormat] = {code: FLOATS[code] for code in FLOAT_CODES}
    forms |= {code: row_format_of(code, code) for code in (*COMPILED, *MLX)}
    stored = {code: rows_of(code, rows, dims) for code in forms}
    best = {code: [float("inf")] * 3 for code in forms}
    for _ in range(TURNS):
        for code, form in forms.items():
            passed = cpu_seconds(lambda f=form, s=stored[code]: one_pass(s, f, dims, options.threads))  # type: ignore[misc]
            alone = cpu_seconds(lambda f=form, s=stored[code]: decoded(s, f, dims))  # type: ignore[misc]
            hashing = cpu_seconds(lambda s=stored[code]: hashed(s))  # type: ignore[misc]
            of_turn = (passed, alone, hashing)
            best[code] = [min(pair) for pair in zip(best[code], of_turn, strict=True)]
    elements = rows * dims
    print(f"{rows:,} × {dims:,}, {options.threads} threads; ns: CPU time of an element")
    print(
        f"{'type':<20}{'bits':>6}{'pass, ns':>10}{'hash, ns':>10}{'rows/s ÷ BF16':>15}{'decoding, ns':>14}{'gguf ÷ ours':>13}"
    )
    for code, form in forms.items():
        passed, alone, hashing = best[code]
        bits = 8 * form.row_bytes(dims) / dims
        print(f"{code:<20}{bits:>6.2f}{passed / elements * 1e9:>10.2f}{hashing / elements * 1e9:>10.2f}"
              f"{best['BF16'][0] / passed:>15.2f}"
              f"{alone / elements * 1e9:>14.2f}{peer(code, form, stored[code], alone / rows):>13}")  # fmt: skip


def peer(code: str, form: RowFormat, stored: NDArray[np.uint8], row_s: float) -> str:
    """How many times as long the package takes to decode a row; empty if it is none of its types."""
    if not isinstance(form, BlockFormat) or level_format(code) is not None:
        return ""
    part = np.ascontiguousarray(stored[:PEER_ROWS])
    took = cpu_seconds(lambda: gguf.dequantize(part, gguf.GGMLQuantizationType[code]))
    return f"{took / len(part) / row_s:.0f}"


if __name__ == "__main__":
    main()
