"""Rows in ggml's types whose groups are entries of large tables (IQ1 to IQ3): to each group the nearest entry.

The steps are those that keep the lengths of groups; llama.cpp's own search longer. The tables are those of the
package `gguf`; the layouts are written anew after ggml's `ggml-common.h`, from the side of the entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gguf.quants
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]
Whole = NDArray[np.int64]
Parts = tuple[NDArray[np.generic], ...]
BLOCK, DELTA = 256, np.float32(0.125)


def _table(kind: str) -> Numbers:
    """All entries of a type, [E, elements of a group]."""
    held: Any = getattr(gguf.quants, kind)
    held.init_grid()
    entries: Numbers = held.grid.reshape(held.grid_shape).astype(np.float32)
    return entries


def _steps(
    blocks: Numbers, groups: int, table: Numbers, most: int, unit: float
) -> tuple[Any, Whole, Numbers]:
    """A block's float16 factor [B], integers [B, G] up to `most`, and the steps that they stand for.

    A step is the factor times `unit` times twice the integer plus one.
    """
    lengths = np.sqrt((blocks.reshape(len(blocks), groups, -1) ** 2).mean(2) / (table**2).mean())
    factor = (lengths.max(1) / (unit * (2 * most + 1))).astype(np.float16)
    wide = unit * factor.astype(np.float32)[:, None]
    counts = np.where(wide > 0, (lengths / np.where(wide > 0, wide, 1) - 1) / 2, 0)
    whole = np.round(counts).clip(0, most).astype(np.int64)
    return factor, whole, (wide * (2 * whole + 1)).astype(np.float32)


def _nearest(groups: Numbers, table: Numbers) -> Whole:
    """The nearest entry to each group [N, n]."""
    entries: Whole = ((table**2).sum(1) - 2 * (groups @ table.T)).argmin(1)
    return entries


def _with_signs(
    blocks: Numbers, steps: Numbers, table: Numbers, even: bool
) -> tuple[Whole, NDArray[np.uint8]]:
    """Entries of magnitudes [B, N], and the signs of each eight elements [B, 32] in a byte.

    even: the number of minus signs is, as the last is not stored; then the smallest element takes the other.
    """
    eights = blocks.reshape(-1, 8).copy()
    minus = eights < 0
    if even:
        uneven = np.flatnonzero(minus.sum(1) % 2)
        minus[uneven, np.abs(eights[uneven]).argmin(1)] ^= True
    upright = np.where(minus, -eights, eights).reshape(len(blocks), steps.shape[1], -1)
    scaled = upright / np.where(steps > 0, steps, 1)[..., None]
    entries = _nearest(scaled.reshape(-1, table.shape[1]).astype(np.float32), table)
    signs = np.packbits(minus, axis=1, bitorder="little").reshape(len(blocks), 32)
    return entries.reshape(len(blocks), -1), signs


def _signs_and_steps(signs: NDArray[np.uint8], counts: Whole) -> NDArray[np.uint32]:
    """Four times seven signs and four bits of the step, [B, 8]."""
    seven = (signs & 127).astype(np.uint32).reshape(len(signs), 8, 4) << np.array([0, 7, 14, 21], np.uint32)
    words: NDArray[np.uint32] = np.bitwise_or.reduce(seven, axis=2) | (counts.astype(np.uint32) << 28)
    return words


def _pairs(counts: Whole) -> NDArray[np.uint8]:
    """Integers of 4 bits, the first of two in the lower half of a byte."""
    return (counts[:, ::2] | counts[:, 1::2] << 4).astype(np.uint8)


def _upper(entries: Whole, bits: int, run: int) -> Whole:
    """Of each `run` entries what stands above 8 bits, side by side, [B, N / run]."""
    above = (entries >> 8).reshape(len(entries), -1, run) << (bits * np.arange(run))
    summed: Whole = above.sum(2)
    return summed


def _low(entries: Whole) -> NDArray[np.uint8]:
    return (entries & 255).astype(np.uint8)


def _iq2_xxs(blocks: Numbers) -> Parts:
    table = _table("IQ2_XXS")
    factor, counts, steps = _steps(blocks, 8, table, 15, 0.125)
    entries, signs = _with_signs(blocks, steps, table, even=True)
    fours = _low(entries).view("<u4")
    return factor, np.stack([fours, _signs_and_steps(signs, counts)], axis=2).reshape(len(blocks), -1)


def _iq2_xs(blocks: Numbers) -> Parts:
    table = _table("IQ2_XS")
    factor, counts, steps = _steps(blocks, 16, table, 15, 0.125)
    entries, signs = _with_signs(blocks, steps, table, even=True)
    return factor, (entries | (signs & 127).astype(np.int64) << 9).astype(np.uint16), _pairs(counts)


def _iq2_s(blocks: Numbers) -> Parts:
    table = _table("IQ2_S")
    factor, counts, steps = _steps(blocks, 16, table, 15, 0.125)
    entries, signs = _with_signs(blocks, steps, table, even=False)
    return factor, _low(entries), signs, _upper(entries, 2, 4).astype(np.uint8), _pairs(counts)


def _iq3_xxs(blocks: Numbers) -> Parts:
    table = _table("IQ3_XXS")
    factor, counts, steps = _steps(blocks, 8, table, 15, 0.25)
    entries, signs = _with_signs(blocks, steps, table, even=True)
    return factor, _low(entries), _signs_and_steps(signs, counts)


def _iq3_s(blocks: Numbers) -> Parts:
    table = _table("IQ3_S")
    factor, counts, steps = _steps(blocks, 8, table, 15, 1.0)
    entries, signs = _with_signs(blocks, steps, table, even=False)
    return factor, _low(entries), _upper(entries, 1, 8).astype(np.uint8), signs, _pairs(counts)


def _ternary(blocks: Numbers, groups: int, run: int) -> tuple[Any, Whole, Whole, Whole]:
    """Factor, halves of the odd integers of `groups`, entries [B, 32], and whether DELTA is taken from `run` entries."""
    table = _table("IQ1_S")
    factor, counts, steps = _steps(blocks, groups, table, 7, 1.0)
    wide = np.repeat(np.where(steps > 0, steps, 1), BLOCK // groups, axis=1)
    eights = (blocks / wide).reshape(-1, 8).astype(np.float32)
    products, sums = eights @ table.T, eights.sum(1)
    tried = []
    for delta in (DELTA, -DELTA):
        distances = ((table + delta) ** 2).sum(1) - 2 * products  # but for what all entries have in common
        nearest = distances.argmin(1)
        tried.append((nearest, distances[np.arange(len(nearest)), nearest] - 2 * delta * sums))
    above, below = (distance.reshape(-1, run).sum(1) for _, distance in tried)
    is_below = below < above
    entries = np.where(np.repeat(is_below, run), tried[1][0], tried[0][0])
    return (
        factor,
        counts,
        entries.reshape(len(blocks), 32),
        is_below.reshape(len(blocks), -1).astype(np.int64),
    )


def _iq1_s(blocks: Numbers) -> Parts:
    factor, counts, entries, below = _ternary(blocks, 8, 4)
    upper = _upper(entries, 3, 4) | counts << 12 | below << 15
    return factor, _low(entries), upper.astype(np.uint16)


def _iq1_m(blocks: Numbers) -> Parts:
    factor, counts, entries, below = _ternary(blocks, 16, 1)
    upper = (entries >> 8) | below << 3
    integers = (counts.reshape(-1, 4, 4) << (3 * np.arange(4))).sum(2)
    nibbles = factor.view(np.uint16)[:, None] >> np.array([0, 4, 8, 12], np.uint16) & 15
    words = integers.astype(np.uint16) | nibbles << np.uint16(12)
    return _low(entries), (upper[:, ::2] | upper[:, 1::2] << 4).astype(np.uint8), words


CODEBOOK_QUANTISERS: dict[str, Callable[[Numbers], Parts]] = {
    "IQ1_M": _iq1_m, "IQ1_S": _iq1_s, "IQ2_S": _iq2_s, "IQ2_XS": _iq2_xs, "IQ2_XXS": _iq2_xxs,
    "IQ3_S": _iq3_s, "IQ3_XXS": _iq3_xxs,
}  # fmt: skip
