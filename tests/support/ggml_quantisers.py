"""Rows in each of ggml's quantised types: by the package `gguf` if it has a quantiser, else by a plain one here.

Those here round to the nearest level between the ends of each group; llama.cpp's own search longer. The layouts
are those of ggml's `ggml-common.h`, written anew from the side of the levels, not of the bytes. Types whose
levels are entries of large tables (IQ1 to IQ3) are in `ggml_codebooks.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import gguf
import numpy as np
from numpy.typing import NDArray
from support.ggml_codebooks import CODEBOOK_QUANTISERS

Rows = NDArray[np.float32]  # [V, D]
Codes = NDArray[np.uint8]  # [V, bytes of a row]
Numbers = NDArray[np.float32]
_IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def quantised(rows: Rows, kind: str) -> Codes:
    """Rows in a type; equal rows have equal codes."""
    blocks_of = _QUANTISERS.get(kind)
    number = gguf.GGMLQuantizationType[kind]
    if blocks_of is None:
        stored: Codes = gguf.quantize(rows, number)
        return stored
    elements, size = gguf.GGML_QUANT_SIZES[number]
    parts = blocks_of(rows.reshape(-1, elements))
    return np.hstack([_bytes_of(part) for part in parts]).reshape(len(rows), -1, size).reshape(len(rows), -1)


def _bytes_of(part: NDArray[np.generic]) -> Codes:
    return np.ascontiguousarray(part).view(np.uint8).reshape(len(part), -1)


def _rounded(values: Numbers, step: Numbers, most: int, least: int = 0) -> NDArray[np.uint8]:
    """Levels from `least` on, counted from 0, of values [B, G, n] and steps [B, G]."""
    wide = step[..., None]
    levels = np.where(wide != 0, np.round(values / np.where(wide != 0, wide, 1)), 0)
    return (np.clip(levels, least, most) - least).astype(np.uint8)


def _shared(steps: Numbers, most: int) -> tuple[NDArray[np.float16], NDArray[np.uint8], Numbers]:
    """Steps [B, G] as one float16 factor [B] and integers up to `most`; and the steps that they stand for."""
    factor = (np.abs(steps).max(1) / most).astype(np.float16)
    wide = factor.astype(np.float32)[:, None]
    counts = np.where(wide != 0, np.round(steps / np.where(wide != 0, wide, 1)), 0).clip(-most, most)
    return factor, counts.astype(np.int8).view(np.uint8), (wide * counts).astype(np.float32)


def _with_minima(blocks: Numbers, groups: int, most: int, most_step: int) -> tuple[NDArray[np.generic], ...]:
    """Two factors, the integers of steps and of minima [B, G], and the levels [B, G, n]: K-quants with minima."""
    values = blocks.reshape(len(blocks), groups, -1)
    below = np.maximum(-values.min(2), 0)
    factor, steps, step = _shared((values.max(2) + below) / most, most_step)
    least_factor, minima, least = _shared(below, most_step)
    return factor, least_factor, steps, minima, _rounded(values + least[..., None], step, most)


def _six_bits(steps: Codes, minima: Codes) -> Codes:
    """Eight pairs of 6 bits in 12 bytes."""
    upper = [(part[:, 4:] >> 4) << 6 for part in (steps, minima)]
    return np.hstack([steps[:, :4] | upper[0], minima[:, :4] | upper[1],
                      (steps[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)])  # fmt: skip


def _nibbles(levels: NDArray[np.uint8], run: int) -> Codes:
    """Levels of 4 bits: of each two runs, the first in the lower halves of bytes, the second in the upper."""
    pairs = levels.reshape(len(levels), -1, 2, run)
    return (pairs[:, :, 0] | (pairs[:, :, 1] << 4)).reshape(len(levels), -1)


def _crumbs(levels: NDArray[np.uint8]) -> Codes:
    """Levels of 2 bits: four runs of 32 in 32 bytes."""
    runs = levels.reshape(len(levels), 2, 4, 32)
    return (runs[:, :, 0] | runs[:, :, 1] << 2 | runs[:, :, 2] << 4 | runs[:, :, 3] << 6).reshape(
        len(levels), -1
    )


def _bits(levels: NDArray[np.uint8]) -> Codes:
    """Eight runs of 32 bits in 32 bytes: a bit of each byte for a run."""
    runs = levels.reshape(len(levels), 8, 32) << np.arange(8, dtype=np.uint8)[:, None]
    return np.bitwise_or.reduce(runs, axis=1)


def _q2_k(blocks: Numbers) -> tuple[NDArray[np.generic], ...]:
    factor, least_factor, steps, minima, levels = _with_minima(blocks, 16, 3, 15)
    return steps | minima << 4, _crumbs(levels), factor, least_factor


def _q3_k(blocks: Numbers) -> tuple[NDArray[np.generic], ...]:
    values = blocks.reshape(-1, 16, 16)
    factor, steps, step = _shared(np.abs(values).max(2) / 3.5, 31)
    levels, steps = _rounded(values, step, 3, -4), steps + 32
    low, high = steps & 15, steps >> 4
    upper = (high.reshape(-1, 4, 4) << (2 * np.arange(4, dtype=np.uint8))[:, None]).sum(1).astype(np.uint8)
    return _bits(levels >> 2), _crumbs(levels & 3), low[:, :8] | low[:, 8:] << 4, upper, factor


def _q4_k(blocks: Numbers) -> tuple[NDArray[np.generic], ...]:
    factor, least_factor, steps, minima, levels = _with_minima(blocks, 8, 15, 63)
    return factor, least_factor, _six_bits(steps, minima), _nibbles(levels, 32)


def _q5_k(blocks: Numbers) -> tuple[NDArray[np.generic], ...]:
    factor, least_factor, steps, minima, levels = _with_minima(blocks, 8, 31, 63)
    return factor, least_factor, _six_bits(steps, minima), _bits(levels >> 4), _nibbles(levels & 15, 32)


def _q6_k(blocks: Numbers) -> tuple[NDArray[np.generic], ...]:
    values = blocks.reshape(-1, 16, 16)
    factor, steps, step = _shared(np.abs(values).max(2) / 31.5, 127)
    levels = _rounded(values, step, 31, -32)
    return _nibbles(levels & 15, 64), _crumbs(levels >> 4), steps, factor


def _nearest(values: Numbers, step: Numbers, table: Numbers) -> NDArray[np.uint8]:
    """The entry of a table that is nearest to each value [B, G, n], in steps [B, G]."""
    wide = np.where(step != 0, step, 1)[..., None, None]
    return np.abs(values[..., None] / wide - table).argmin(-1).astype(np.uint8)


def _iq4_nl(blocks: Numbers) -> tuple[NDArray[np.generic], ...]:
    factor = (np.abs(blocks).max(1) / 113).astype(np.float16)
    levels = _nearest(blocks[:, None], factor.astype(np.float32)[:, None], _IQ4)
    return factor, _nibbles(levels, 16)


def _iq4_xs(blocks: Numbers) -> tuple[NDArray[np.generic], ...]:
    values = blocks.reshape(-1, 8, 32)
    factor, steps, step = _shared(np.abs(values).max(2) / 113, 31)
    steps = steps + 32
    upper = ((steps >> 4).astype(np.uint16) << (2 * np.arange(8, dtype=np.uint16))).sum(1).astype(np.uint16)
    low = (steps[:, ::2] & 15) | (steps[:, 1::2] & 15) << 4
    return factor, upper, low, _nibbles(_nearest(values, step, _IQ4), 16)


def _nvfp4(blocks: Numbers) -> tuple[NDArray[np.generic], ...]:
    values = blocks.reshape(-1, 4, 16)
    exponents, mantissas = np.divmod(np.arange(127), 8)  # E4M3 without a sign
    numbers = np.where(exponents == 0, mantissas / 512, np.ldexp(1 + mantissas / 8, exponents - 7))
    factors = np.abs(np.abs(values).max(2)[..., None] / 6 - numbers).argmin(-1)
    levels = _nearest(values, numbers[factors].astype(np.float32), _E2M1)
    return factors.astype(np.uint8), _nibbles(levels, 8)


_QUANTISERS: dict[str, Callable[[Numbers], tuple[NDArray[np.generic], ...]]] = {
    "Q2_K": _q2_k, "Q3_K": _q3_k, "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k,
    "IQ4_NL": _iq4_nl, "IQ4_XS": _iq4_xs, "NVFP4": _nvfp4, **CODEBOOK_QUANTISERS,
}  # fmt: skip
