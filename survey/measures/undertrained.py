"""The dense cluster apart from the main cloud of rows: candidates for rows that were never trained.

Rows that no gradient of their own ever reached were all moved by the same common gradients: they stay
close together while the others spread. So the densest spot of the matrix is sought among the projections
of its rows, and the rows' distances from it are counted on a logarithmic scale. If they fall into a near
and a far population with a valley between, and the near one is the smaller and by far the denser, its
rows are candidates. Without such a valley no row is flagged; the measure never flags rows merely to flag
some.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import finite_or_none
from survey.onepass import kernels
from survey.onepass.projection import Projections, RowFlags, squared_distances
from survey.onepass.result import PassResult
from survey.records.measurement import Undertrained

ANCHORS = 256  # rows tried as the densest spot: half of them even in rank of norm, half in norm
SAMPLE = 4096  # rows that density is judged by
NEIGHBOURS = 4  # density around a row is the distance to the fourth nearest row of the sample
CORE = 8  # rows of the sample around which a cluster is first centred
MAX_SPOTS = 4  # the densest first
MIN_CLUSTER = 16  # rows
JUDGED = 64  # rows by whose neighbours the densities of the cluster and of the others are compared
# Distances are counted in bins of ×2^(1/8) in d²: ln d in steps of 0.043. A ball in 32 dimensions is
# 1/√64 = 0.125 wide on that scale, about the five bins that are taken together.
BIN_RATIO = np.sqrt(np.sqrt(np.sqrt(2.0)))
SMOOTHED_BINS = 5
SIGMAS = 5.0  # by which a valley lies below the smaller of its peaks, by Poisson's statistics
DEPTH = 0.5  # of the smaller peak: the most that a valley may hold
DENSER = 2.0  # times closer to each other than the other rows are to each other
FARTHER = 2.0  # times as far from the centre as the cluster's rows: the other rows


@dataclass(frozen=True, slots=True)
class DenseCluster:
    """rows: within a cut from the centre, [V]. contrast: how many times farther others lie, by medians."""

    rows: RowFlags
    contrast: float


def undertrained(result: PassResult, cluster: DenseCluster | None) -> Undertrained:
    """The number of candidates, and how far from them the other rows lie; 0 if there is no cluster."""
    return Undertrained(
        undertrained_rows=int(cluster.rows.sum()) if cluster else 0,
        undertrained_contrast=finite_or_none(cluster.contrast) if cluster else None,
    )


def dense_cluster(projections: Projections) -> DenseCluster | None:
    """The dense cluster apart from the main cloud; None if there is none."""
    distinct = projections.distinct
    if len(distinct) < 2 * MIN_CLUSTER:
        return None
    sample = projections.rows[_evenly(distinct, SAMPLE)]
    rejected: list[RowFlags] = []
    for anchor in _densest_first(projections, distinct, sample):
        if len(rejected) == MAX_SPOTS:
            break
        if any(rows[anchor] for rows in rejected):
            continue
        rows, cluster = _cluster_around(projections, distinct, sample, anchor)
        if cluster is not None:
            return cluster
        rejected.append(rows)
    return None


def _densest_first(
    projections: Projections, distinct: NDArray[np.int64], sample: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Anchors by the distance to their fourth nearest row of the sample, [A]. sample: [S, 32]."""
    rows = projections.rows[distinct]
    squared_lengths = squared_distances(rows, np.zeros(rows.shape[1], dtype=np.float32))
    order = np.argsort(squared_lengths, kind="stable")
    even = np.linspace(0.0, np.sqrt(float(squared_lengths[order[-1]])), ANCHORS // 2) ** 2
    by_length = order[np.minimum(np.searchsorted(squared_lengths[order], even), len(order) - 1)]
    black_holes = projections.firsts[projections.usable[projections.firsts]][: ANCHORS // 4]
    by_rank = distinct[_evenly(order, ANCHORS // 2)]
    anchors = np.unique(np.concatenate([by_rank, distinct[by_length], black_holes]))
    density = _neighbour_distances(projections.rows[anchors], sample)
    return anchors[np.argsort(density, kind="stable")]


def _cluster_around(
    projections: Projections, distinct: NDArray[np.int64], sample: NDArray[np.float32], anchor: int
) -> tuple[RowFlags, DenseCluster | None]:
    """The rows near an anchor, [V], and the cluster that they form, if they form one."""
    from_anchor = squared_distances(sample, projections.rows[anchor])
    core = np.sort(np.argsort(from_anchor, kind="stable")[:CORE])
    squared = projections.squared_distances(_mean(sample[core]))
    cut = valley(squared[distinct])
    if cut is not None:  # once more, from the centre of all rows within the cut
        squared = projections.squared_distances(_mean(projections.rows[distinct[squared[distinct] < cut]]))
        cut = valley(squared[distinct])
    if cut is None:
        return squared <= 4 * from_anchor[core].max(), None
    rows = squared < cut
    inner, outer = distinct[rows[distinct]], distinct[~rows[distinct]]
    if not MIN_CLUSTER <= len(inner) <= len(distinct) // 2:
        return rows, None
    inner_median, outer_median = float(np.median(squared[inner])), float(np.median(squared[outer]))
    if outer_median < FARTHER**2 * inner_median or not _is_denser(projections, inner, outer, sample):
        return rows, None
    contrast = math.sqrt(outer_median / inner_median) if inner_median else math.inf
    return rows, DenseCluster(rows, contrast)


def _is_denser(
    projections: Projections,
    inner: NDArray[np.int64],
    outer: NDArray[np.int64],
    sample: NDArray[np.float32],
) -> bool:
    """Whether the inner rows lie DENSER times closer to each other than the outer ones to the sample."""
    inner_sample = projections.rows[_evenly(inner, SAMPLE)]
    inner_squared = np.median(_neighbour_distances(_judged(inner_sample), inner_sample))
    outer_squared = np.median(_neighbour_distances(_judged(projections.rows[outer]), sample))
    return float(outer_squared) >= DENSER**2 * float(inner_squared)


def valley(squared: NDArray[np.float32]) -> float | None:
    """The squared distance at the bottom of the clearest valley between two peaks; None without one.

    squared: squared distances of rows from a centre, [N]. They are counted in logarithmic bins, five bins
    taken together. A bin lies in a valley if higher peaks stand on both sides: with counts of
    90, 100, 10, 2, 10, 400 the lower peak is 100, and the bin of 2 lies (100 − 2) / √103 = 9.7 standard
    deviations below it.
    """
    least = max(float(squared.min()), float(np.median(squared)) * 2.0**-40)
    bins = int(8 * np.log2(max(float(squared.max()) / least, 1.0))) + 2 if least > 0 else 0
    if bins < SMOOTHED_BINS:
        return None
    edges = least * np.multiply.accumulate(np.full(bins, BIN_RATIO))
    counts = np.bincount(np.searchsorted(edges, squared, side="right"), minlength=bins + 1)
    smooth = np.convolve(counts, np.ones(SMOOTHED_BINS, dtype=np.int64), "same")
    peak_before, peak_after = np.maximum.accumulate(smooth), np.maximum.accumulate(smooth[::-1])[::-1]
    lower_peak = np.minimum(peak_before, peak_after)
    sigmas = (lower_peak - smooth) / np.sqrt(lower_peak + smooth + 1)
    clearness = np.where((smooth <= DEPTH * lower_peak) & (sigmas >= SIGMAS), sigmas, 0.0)
    if not clearness.any():
        return None
    bottom = np.flatnonzero(clearness == clearness.max())  # may be wide: its middle is the cut
    return float(edges[min(int(bottom[len(bottom) // 2]), bins - 1)])


def _neighbour_distances(rows: NDArray[np.float32], sample: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distance of each row [R, 32] to its fourth nearest in the sample [S, 32], itself included."""
    block = kernels.distances.SAMPLE_BLOCK
    columns = np.full((sample.shape[1], -(-len(sample) // block) * block), np.float32(np.inf))
    columns[:, : len(sample)] = sample.T
    nearest = np.empty((len(rows), min(NEIGHBOURS + 1, len(sample))), dtype=np.float32)
    kernels.distances.neighbour_distances(rows, columns, nearest)
    return nearest[:, -1]


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of [R, 32], summed in float64, [32]."""
    total = np.add.reduce(rows.astype(np.float64), axis=0)
    mean: NDArray[np.float32] = (total / len(rows)).astype(np.float32)
    return mean


def _evenly(items: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of these items, evenly spaced."""
    if len(items) <= count:
        return items
    return items[np.arange(count) * len(items) // count]


def _judged(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most JUDGED of these rows, evenly spaced."""
    return rows[_evenly(np.arange(len(rows)), JUDGED)]
