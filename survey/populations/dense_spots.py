"""Where the rows of a matrix lie closest together: the spots at which a population may be.

Two searches complete each other. A sample shows how dense the surroundings of some hundred rows are, if a
population is a share of all rows. A handful of rows among 150,000 is in no sample: so all rows are put in
order by the signs of their projections, which brings rows that are close together side by side, and each is
compared with its neighbours in that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from survey.onepass import kernels
from survey.onepass.projection import FineRows, Projections, RowFlags, squared_distances
from survey.onepass.row_threads import IN_THIS_THREAD, RowThreads
from survey.populations.evenly import evenly

RowNumbers = NDArray[np.int64]

RANKED_ANCHORS, NORM_ANCHORS = 896, 128  # rows tried as the densest spot, even in rank of norm, and in norm
HOLE_ANCHORS = 64  # the most populous black holes, tried as well
CLOSE_ANCHORS = 128  # rows that are close to their neighbours, tried as well
USUAL_ANCHORS = 64  # rows whose neighbours say what is usual
ANCHOR_SAMPLE = 2048  # rows by which the anchors are compared
DENSEST = 24  # anchors whose surroundings are looked at once more, in 128 dimensions
SAMPLE = 4096  # rows that density is judged by
SCOUTS = 16384  # rows by which it is first seen whether there is a population around a spot
NEIGHBOURS = 4  # density around a row is the distance to the fourth nearest
CLOSER = 0.5  # of the distance that is usual among neighbours: what counts as close
FEW_ROWS = 64  # each compared with thousands: enough work for a thread
CORE = 8  # rows around a spot by which its centre is first set


@dataclass(frozen=True)
class Spots:
    """The spots of those rows that are not in a population yet. active: their numbers, ascending, [N]."""

    projections: Projections
    order: SignOrder
    active: RowNumbers

    @cached_property
    def sample(self) -> RowNumbers:
        return evenly(self.active, SAMPLE)

    @cached_property
    def is_active(self) -> RowFlags:
        flags = np.zeros(len(self.projections.usable), dtype=bool)
        flags[self.active] = True
        return flags

    @cached_property
    def _is_sampled(self) -> RowFlags:
        flags = np.zeros(len(self.projections.usable), dtype=bool)
        flags[self.sample] = True
        return flags

    @cached_property
    def close(self) -> RowNumbers:
        """Active rows that are close to their neighbours, in the order of signs."""
        return self.order.close[self.is_active[self.order.close]]

    @cached_property
    def scouts(self) -> tuple[RowNumbers, FineRows]:
        """Some of the active rows, and most of those that are close to their neighbours."""
        chosen = np.union1d(evenly(self.active, SCOUTS), evenly(self.close, SAMPLE))
        return chosen, self.projections.subset(chosen)

    def distances(self, centre: NDArray[np.float64]) -> NDArray[np.float32]:
        """Of the active rows from a centre [128], [N]."""
        return self.projections.all_fine.distances(centre)[self.active]

    @cached_property
    def fine_sample(self) -> FineRows:
        return self.projections.subset(self.sample)

    def densest_first(self) -> Iterator[tuple[int, RowNumbers]]:
        """Anchors by how close their neighbours are, each with the eight rows nearest to it, ascending."""
        spots = [(*self._surroundings(anchor), anchor) for anchor in self._dense_anchors()]
        for _, core, anchor in sorted(spots, key=lambda spot: (spot[0], spot[2])):
            yield anchor, core

    def neighbour_distance(self, row: int) -> float:
        """The distance of a row to its fourth nearest, of the sample or in the order of signs."""
        return self._surroundings(row)[0]

    def _dense_anchors(self) -> list[int]:
        """The anchors whose neighbours are closest by their projections."""
        rows = self.projections.rows
        anchors = np.unique(np.concatenate([self._by_norm(), evenly(self.close, CLOSE_ANCHORS)]))
        sample = rows[evenly(self.active, ANCHOR_SAMPLE)]
        density = neighbour_distances(rows[anchors], sample, self.projections.threads)
        is_close = np.isin(anchors, self.close)
        density[is_close] = np.minimum(
            density[is_close], self.order.neighbour_distances(anchors[is_close], self.is_active)
        )
        densest: list[int] = anchors[np.argsort(density, kind="stable")][:DENSEST].tolist()
        return densest

    def _surroundings(self, anchor: int) -> tuple[float, RowNumbers]:
        """The distance of an anchor to its fourth nearest, and the eight rows nearest to it, ascending.

        Of the sample, and of its neighbours in the order of signs.
        """
        centre = self.projections.subset(np.array([anchor])).vectors()[0].astype(np.float64)
        others = self.order.around(anchor, self.is_active)
        others = others[~self._is_sampled[others]]
        pool = np.concatenate([self.sample, others])
        distances = np.concatenate(
            [self.fine_sample.distances(centre), self.projections.subset(others).distances(centre)]
        )
        distances[pool == anchor] = 0.0  # and not what rounding makes of it
        near = np.flatnonzero(distances <= np.partition(distances, CORE - 1)[CORE - 1])
        nearest = near[np.lexsort((pool[near], distances[near]))]
        fourth = float(distances[nearest[NEIGHBOURS]])
        return fourth, np.sort(pool[nearest[:CORE]])

    def _by_norm(self) -> RowNumbers:
        some = evenly(self.active, SCOUTS)
        lengths = self.projections.lengths[some]
        order = np.argsort(lengths, kind="stable")
        even = np.linspace(0.0, float(lengths[order[-1]]), NORM_ANCHORS)
        by_length = order[np.minimum(np.searchsorted(lengths[order], even), len(order) - 1)]
        firsts = self.projections.firsts
        firsts = firsts[self.is_active[firsts]][:HOLE_ANCHORS]
        return np.concatenate([some[evenly(order, RANKED_ANCHORS)], some[by_length], firsts])


@dataclass(frozen=True)
class SignOrder:
    """Rows in the order of the signs of their projections, less a central row.

    projections: of all rows. numbers: the distinct rows in that order, [N]. places: of each row in it, [V].
    """

    projections: Projections
    numbers: RowNumbers
    places: RowNumbers

    @classmethod
    def of(cls, projections: Projections, distinct: RowNumbers) -> SignOrder:
        centre = np.median(projections.rows[evenly(distinct, SAMPLE)], axis=0).astype(np.float32)
        rows, codes = projections.rows, np.empty(len(distinct), dtype=np.uint64)
        find = kernels.distances.sign_codes
        projections.threads.each(
            len(codes), lambda start, stop: find(rows, distinct[start:stop], centre, start, codes[start:stop])
        )
        codes.sort()  # no two are equal, so that every way of sorting gives the same order
        numbers = distinct[(codes & np.uint64(0xFFFFFFFF)).astype(np.int64)]
        places = np.full(len(projections.usable), -1, dtype=np.int64)
        places[numbers] = np.arange(len(numbers))
        return cls(projections, numbers, places)

    @cached_property
    def close(self) -> RowNumbers:
        """Rows with three neighbours at half the distance that is usual in a sample, or less."""
        rows = self.projections.rows
        usual = neighbour_distances(rows[evenly(self.numbers, USUAL_ANCHORS)], rows[self._sample])
        most = np.float32(CLOSER**2 * float(np.median(usual)))
        return self.numbers[self._close_pairs(most) >= NEIGHBOURS - 1]

    def _close_pairs(self, most: np.float32) -> NDArray[np.int32]:
        """In how many pairs within √most each row is, [N]."""
        rows, numbers = self.projections.rows, self.numbers
        counts: dict[int, NDArray[np.int32]] = {}

        def count(start: int, stop: int) -> None:
            part = numbers[start : stop + kernels.distances.WINDOW]
            counts[start] = np.zeros(len(part), dtype=np.int32)
            kernels.distances.count_close(rows, part, stop - start, most, counts[start])

        self.projections.threads.each(len(numbers), count)
        close = np.zeros(len(numbers), dtype=np.int32)
        for start, added in counts.items():
            close[start : start + len(added)] += added
        return close

    @cached_property
    def _sample(self) -> RowNumbers:
        return evenly(np.sort(self.numbers), SAMPLE)

    def around(self, row: int, among: RowFlags) -> RowNumbers:
        """The row and its neighbours in this order; among: which rows count, [V]."""
        window, place = kernels.distances.WINDOW, int(self.places[row])
        near = self.numbers[max(0, place - window) : place + window + 1]
        return near[among[near]]

    def neighbour_distances(self, rows: RowNumbers, among: RowFlags) -> NDArray[np.float32]:
        """Squared distance of each of these rows [R] to its fourth nearest neighbour in this order."""
        projected = self.projections.rows
        nearest = np.full(len(rows), np.inf, dtype=np.float32)
        for index, row in enumerate(rows.tolist()):
            squared = np.sort(squared_distances(projected[self.around(row, among)], projected[row]))
            if len(squared) > 1:
                nearest[index] = squared[min(NEIGHBOURS, len(squared) - 1)]
        return nearest


def neighbour_distances(
    rows: NDArray[np.float32], sample: NDArray[np.float32], threads: RowThreads = IN_THIS_THREAD
) -> NDArray[np.float32]:
    """Squared distance of each row [R, 32] to its fourth nearest in the sample [S, 32], itself included."""
    return _nearest(rows, sample, NEIGHBOURS + 1, threads)[:, -1]


def nearest_distances(rows: NDArray[np.float32], peers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distance of each row [R, 32] to the nearest of its peers, [S, 32]."""
    nearest = _nearest(rows, peers, 2)
    # A row is among its peers, or the nearest of them is another: then it counts.
    return np.where(nearest[:, 0] > 0.0, nearest[:, 0], nearest[:, -1])


def _nearest(
    rows: NDArray[np.float32], sample: NDArray[np.float32], count: int, threads: RowThreads = IN_THIS_THREAD
) -> NDArray[np.float32]:
    """Squared distances of each row [R, 32] to its nearest in the sample [S, 32], ascending, [R, count]."""
    block = kernels.distances.SAMPLE_BLOCK
    columns = np.full((sample.shape[1], -(-len(sample) // block) * block), np.float32(np.inf))
    columns[:, : len(sample)] = sample.T
    nearest = np.empty((len(rows), min(count, len(sample))), dtype=np.float32)
    find = kernels.distances.find_nearest
    threads.each(
        len(rows), lambda start, stop: find(rows[start:stop], columns, nearest[start:stop]), least=FEW_ROWS
    )
    return nearest
