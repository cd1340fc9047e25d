"""Where distances fall into a near and a far population: the valley between two peaks of their histogram.

Distances are counted on a logarithmic scale, on which a population is as wide at any distance. How wide
depends on how they were obtained: norms are exact and spread by 1/√(2D), some per cent, distances estimated
from a sketch by 6 per cent more. So neighbouring bins are taken together in several widths, and the clearest
valley counts: a window wider than the populations would fill it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

OCTAVE_BINS = 64  # bins of ×2^(1/64): ln d in steps of 0.011
WINDOWS = (3, 7, 13, 21)  # bins that are taken together: ×1.03 to ×1.26
SIGMAS = 5.0  # by which a valley lies below the smaller of its peaks, by Poisson's statistics
DEPTH = 0.5  # of the smaller peak: the most that a valley may hold
LOWEST_OCTAVE, OCTAVES = -24, 66
FINE_BITS = 11  # a linear bin of 1/2048 of an octave's beginning decides the logarithmic one

NEAREST = 128  # among these rows a void is sought
FEWEST = 12  # rows before a void, and in a population
VOID, SHORT_VOID = 2.0, 1.28
WALL = 4  # times as many rows behind a narrow void as before it
FEW_FAR = (
    40  # a void before the farthest rows counts if they are one in so many or more: not if a dozen stray
)


def valley_or_void(
    distances: NDArray[np.float32], sigmas: float = SIGMAS, narrow_void: float | None = None
) -> tuple[float, float] | None:
    """The distance that divides a near and a far population, and how clearly, in sigmas; None without one.

    distances: [N], at least 2. Of few rows no valley is significant; a void behind them, if they are near, or
    before them, if they are far, counts as 0 sigmas.
    """
    divided = valley(distances, sigmas)
    if divided is None:
        cut = void(distances, narrow_void) or far_void(distances)
        return None if cut is None else (cut, 0.0)
    return divided


def valley(distances: NDArray[np.float32], least_sigmas: float = SIGMAS) -> tuple[float, float] | None:
    """The bottom of the clearest valley between two peaks of distances [N], and its sigmas; None without one.

    A bin lies in a valley if higher peaks stand on both sides: with counts of 90, 100, 10, 2, 10, 400 the
    lower peak is 100, and the bin of 2 lies (100 − 2) / √103 = 9.7 standard deviations below it.
    """
    counts = np.bincount(log_bins(distances), minlength=OCTAVES * OCTAVE_BINS)
    first, last = np.flatnonzero(counts)[[0, -1]].tolist()
    margin = max(WINDOWS)
    counts = np.concatenate([np.zeros(margin, dtype=np.int64), counts[first : last + 1], [0] * margin])
    clearest, bottom = 0.0, 0
    for width in WINDOWS:
        smooth = np.convolve(counts, np.ones(width, dtype=np.int64), "same")
        peak_before, peak_after = np.maximum.accumulate(smooth), np.maximum.accumulate(smooth[::-1])[::-1]
        lower_peak = np.minimum(peak_before, peak_after)
        sigmas = (lower_peak - smooth) / np.sqrt(lower_peak + smooth + 1)
        sigmas[(smooth > DEPTH * lower_peak) | (sigmas < least_sigmas)] = 0.0
        if sigmas.max() > clearest:
            clearest = float(sigmas.max())
            bottoms = np.flatnonzero(sigmas == clearest)  # may be wide: its middle is the cut
            bottom = int(bottoms[len(bottoms) // 2]) + first - margin
    return (float(_edges()[bottom]), clearest) if clearest else None


def void(distances: NDArray[np.floating], narrow_void: float | None = None) -> float | None:
    """The middle of the widest empty space behind the nearest rows, [N]; None if none is wide enough.

    A factor of two in distance behind twelve rows or more, or of 1.28 if twelve lie within as much before it.
    narrow_void: a lesser factor that is enough, too, if twelve lie within its square before, and four times
    as many within its square behind: there the other rows begin, and not the thin end of norms that vary.
    The centre is the mean of some of these rows, so they lie up to 1 / rows nearer than they should.
    """
    near = np.sort(np.partition(distances, NEAREST)[:NEAREST] if len(distances) > NEAREST else distances)
    near = np.maximum(near.astype(np.float64), 2.0**LOWEST_OCTAVE)
    widest, cut = 0.0, None
    for inner in range(FEWEST - 1, len(near) - 1):
        factor = float(near[inner + 1] / near[inner])
        if factor < (narrow_void or SHORT_VOID):
            continue
        before = _rows_before(near, inner, factor)
        enough = factor >= VOID or (factor >= SHORT_VOID and before >= FEWEST)
        if not enough and narrow_void is not None:
            before = _rows_before(near, inner, factor**2)
            behind = int(np.searchsorted(near, near[inner + 1] * factor**2, side="right")) - inner - 1
            enough = before >= FEWEST and behind >= WALL * before
        if enough and before * (factor - 1.0) > widest:
            widest = before * (factor - 1.0)
            cut = float(np.sqrt(near[inner] * near[inner + 1]))
    return cut


def far_void(distances: NDArray[np.float32]) -> float | None:
    """The middle of the widest empty space before the farthest rows, [N]; None if none is wide enough.

    As behind the nearest: if nine rows in ten were never trained, the few others are too few for a valley.
    """
    count = min(NEAREST, len(distances))
    farthest = np.maximum(np.partition(distances, -count)[-count:], 2.0**LOWEST_OCTAVE)
    cut = void(1.0 / farthest)
    return None if cut is None or FEW_FAR * int((distances * cut > 1.0).sum()) < len(distances) else 1.0 / cut


def _rows_before(near: NDArray[np.floating], inner: int, factor: float) -> int:
    """How many of these ascending distances up to the one at `inner` are at most that factor less."""
    return inner + 1 - int(np.searchsorted(near[: inner + 1], near[inner] / factor))


def log_bins(distances: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each distance on a scale of ×2^(1/64), [N]; the same on every processor."""
    least, most = 2.0**LOWEST_OCTAVE, 2.0 ** (LOWEST_OCTAVE + OCTAVES - 1)
    words = np.clip(distances, least, most).astype(np.float32).view(np.uint32)
    fine: NDArray[np.int64] = (words >> (23 - FINE_BITS)).astype(np.int64)
    bins: NDArray[np.int64] = _bins_of_words()[fine - ((127 + LOWEST_OCTAVE) << FINE_BITS)]
    return bins


def octaves_of_bins(place: float) -> float:
    """The binary logarithm of the distance at a place among the bins, of which each has its middle at .0."""
    return LOWEST_OCTAVE + (place + 0.5) / OCTAVE_BINS


@cache
def _edges() -> NDArray[np.float64]:
    """The middle of each bin; built by products, which have the same bits everywhere, unlike logarithms."""
    ratio = 2.0
    for _ in range(6):
        ratio = float(np.sqrt(ratio))
    within = np.multiply.accumulate(np.concatenate([[1.0], np.full(OCTAVE_BINS - 1, ratio)]))
    octaves = np.ldexp(1.0, np.arange(LOWEST_OCTAVE, LOWEST_OCTAVE + OCTAVES))
    edges: NDArray[np.float64] = (octaves[:, None] * within).ravel() * np.sqrt(ratio)
    return edges


@cache
def _bins_of_words() -> NDArray[np.int64]:
    """The bin of each upper half of a float32 from 2^LOWEST_OCTAVE on."""
    words = np.arange(OCTAVES << FINE_BITS, dtype=np.int64) + ((127 + LOWEST_OCTAVE) << FINE_BITS)
    values = (words.astype(np.uint32) << (23 - FINE_BITS)).view(np.float32).astype(np.float64)
    middles = _edges()
    upper_edges = np.sqrt(middles[:-1] * middles[1:])
    bins: NDArray[np.int64] = np.searchsorted(upper_edges, values, side="right").astype(np.int64)
    return bins
