"""The dense cluster apart from the main cloud of rows: candidates for rows that were never trained.

Rows that no gradient of their own ever reached were all moved by the same common ones: they stay
close together while the others spread. So the densest spot of the matrix is sought among sketches of
its rows, and the rows' distances from it are looked at on a logarithmic scale. Where they fall into a
near and a far population with a valley between, and the near one is the smaller and by far the denser,
its rows are candidates. Where there is no such valley there are none: nothing is flagged because
something must be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import number
from survey.onepass.projection import Projections, RowFlags, squared_distances
from survey.onepass.result import PassResult
from survey.records.measurement import Undertrained

ANCHORS = 256  # where the densest spot is sought, half of them even in rank of norm, half in norm
SAMPLE = 4096  # rows that density is judged by
NEIGHBOURS = 4  # the distance to the fourth nearest of the sample says how dense it is around a row
CORE = 8  # rows of the sample around which a population is first centred
TRIED = 4  # spots, the densest first
FEWEST = 16  # rows of a population
JUDGED = 64  # rows by whose neighbours a population and the others are compared
# Distances are counted in bins of ×2^(1/8) in d²: ln d in steps of 0.043. A ball in 32 dimensions is
# 1/√64 = 0.125 wide on that scale, about the five bins that are taken together.
STEP = np.sqrt(np.sqrt(np.sqrt(2.0)))
TOGETHER = 5
SIGMAS = 5.0  # by which a valley lies below the smaller of its peaks, by Poisson's statistics
DEPTH = 0.5  # of that peak, at most
DENSER = 2.0  # times closer to each other than the other rows are to each other
FARTHER = 2.0  # times as far from the centre as its own rows: the others


@dataclass(frozen=True, slots=True)
class DenseCluster:
    """Rows within a cut from a centre, [V]. contrast: how many times farther the others lie, by medians."""

    rows: RowFlags
    contrast: float


def undertrained(folded: PassResult, cluster: DenseCluster | None) -> Undertrained:
    """How many candidates there are, and how far from them the other rows lie; 0 if there is no cluster."""
    return Undertrained(
        undertrained_rows=int(cluster.rows.sum()) if cluster else 0,
        undertrained_contrast=number(cluster.contrast) if cluster else None,
    )


def dense_cluster(sketches: Projections) -> DenseCluster | None:
    """The dense cluster apart from the main cloud, if there is one."""
    distinct = sketches.distinct
    if len(distinct) < 2 * FEWEST:
        return None
    sample = sketches.rows[_spread(distinct, SAMPLE)]
    tried: list[RowFlags] = []
    for anchor in _densest_first(sketches, distinct, sample):
        if len(tried) == TRIED:
            break
        if any(near[anchor] for near in tried):
            continue
        near, population = _around(sketches, distinct, sample, anchor)
        if population is not None:
            return population
        tried.append(near)
    return None


def _densest_first(
    sketches: Projections, distinct: NDArray[np.int64], sample: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Anchors by the distance to their fourth nearest row of the sample."""
    rows = sketches.rows[distinct]
    lengths = squared_distances(rows, np.zeros(rows.shape[1], dtype=np.float32))
    order = np.argsort(lengths, kind="stable")
    wanted = np.linspace(0.0, np.sqrt(float(lengths[order[-1]])), ANCHORS // 2) ** 2
    by_length = order[np.minimum(np.searchsorted(lengths[order], wanted), len(order) - 1)]
    holes = sketches.firsts[sketches.usable[sketches.firsts]][: ANCHORS // 4]
    anchors = np.unique(np.concatenate([distinct[_spread(order, ANCHORS // 2)], distinct[by_length], holes]))
    density = _neighbour_distances(sketches.rows[anchors], sample)
    return anchors[np.argsort(density, kind="stable")]


def _around(
    sketches: Projections, distinct: NDArray[np.int64], sample: NDArray[np.float32], anchor: int
) -> tuple[RowFlags, DenseCluster | None]:
    """The rows near an anchor, and the population that they are, if they are one."""
    apart = squared_distances(sample, sketches.rows[anchor])
    core = np.sort(np.argsort(apart, kind="stable")[:CORE])
    distances = sketches.squared_distances(_mean(sample[core]))
    cut = valley(distances[distinct])
    if cut is not None:  # once more, from the centre of all rows within the cut
        distances = sketches.squared_distances(_mean(sketches.rows[distinct[distances[distinct] < cut]]))
        cut = valley(distances[distinct])
    if cut is None:
        return distances <= 4 * apart[core].max(), None
    rows = distances < cut
    near, far = distinct[rows[distinct]], distinct[~rows[distinct]]
    if not FEWEST <= len(near) <= len(distinct) // 2:
        return rows, None
    within, beyond = float(np.median(distances[near])), float(np.median(distances[far]))
    own = sketches.rows[_spread(near, SAMPLE)]
    inner = float(np.median(_neighbour_distances(_spread_rows(own), own)))
    outer = float(np.median(_neighbour_distances(_spread_rows(sketches.rows[far]), sample)))
    if beyond < FARTHER**2 * within or outer < DENSER**2 * inner:
        return rows, None
    return rows, DenseCluster(rows, math.sqrt(beyond / within) if within else math.inf)


def valley(squared: NDArray[np.float32]) -> float | None:
    """The squared distance at the bottom of the clearest valley between two peaks; None without one."""
    least = max(float(squared.min()), float(np.median(squared)) * 2.0**-40)
    bins = int(8 * np.log2(max(float(squared.max()) / least, 1.0))) + 2 if least > 0 else 0
    if bins < TOGETHER:
        return None
    edges = least * np.multiply.accumulate(np.full(bins, STEP))
    counts = np.bincount(np.searchsorted(edges, squared, side="right"), minlength=bins + 1)
    around = np.convolve(counts, np.ones(TOGETHER, dtype=np.int64), "same")
    peaks = np.minimum(np.maximum.accumulate(around), np.maximum.accumulate(around[::-1])[::-1])
    below = (peaks - around) / np.sqrt(peaks + around + 1)
    clear = np.where((around <= DEPTH * peaks) & (below >= SIGMAS), below, 0.0)
    if not clear.any():
        return None
    # In the middle of the bottom, where that is wide.
    best = np.flatnonzero(clear == clear.max())
    return float(edges[min(int(best[len(best) // 2]), bins - 1)])


def _neighbour_distances(rows: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distance of each row to its fourth nearest in the sample, itself included."""
    # Here, so that planning never loads a compiler.
    from survey.onepass.kernels.distances import SAMPLE_BLOCK, neighbour_distances

    columns = np.full((sample.shape[1], -(-len(sample) // SAMPLE_BLOCK) * SAMPLE_BLOCK), np.float32(np.inf))
    columns[:, : len(sample)] = sample.T
    nearest = np.empty((len(rows), min(NEIGHBOURS + 1, len(sample))), dtype=np.float32)
    neighbour_distances(rows, columns, nearest)
    return nearest[:, -1]


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = (np.add.reduce(rows.astype(np.float64), axis=0) / len(rows)).astype(
        np.float32
    )
    return mean


def _spread(items: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most so many of them, evenly."""
    if len(items) <= count:
        return items
    return items[np.arange(count) * len(items) // count]


def _spread_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[_spread(np.arange(len(rows)), JUDGED)]
