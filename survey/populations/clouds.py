"""Whether rows are a copy of others in another scale, or what chance left around a centre.

A few long words make all others look short, and words that are met often are shorter than the rest: both are
the same cloud in another scale, smaller or larger towards the origin or around its own centre. Initial values
are not: they point in all directions alike and have one scale, while trained rows share directions and vary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import row_lengths
from survey.onepass.projection import FineRows
from survey.populations.evenly import evenly

FINE_DIMS = 128
DIRECTED = 256  # rows whose directions are compared pair by pair
EXACT = 4096.0  # coordinates are multiples of 1/4096: products and their sums are exact in any order
SQUARED_CHANCE = 4.0  # centres are apart if that much farther, squared, than chance makes them
SOME_PART = 1 / 3
CHANCES = 4.0  # standard errors by which two figures differ


@dataclass(frozen=True, slots=True)
class Mean:
    """Of rows [R, 128], and the variance by which chance moves it."""

    vector: NDArray[np.float64]
    variance: float

    @classmethod
    def of(cls, rows: FineRows) -> Mean:
        count = len(rows.lengths)
        mean: NDArray[np.float64] = np.add.reduce(rows.vectors().astype(np.float64), axis=0) / count
        squared = float(np.add.reduce(rows.lengths**2)) / count
        return cls(mean, max(squared - float(np.add.reduce(mean * mean)), 0.0) / count)

    def apart(self, other: Mean) -> float:
        """The squared distance of two means, divided by that which chance makes."""
        squared = float(row_lengths((self.vector - other.vector)[None])[0]) ** 2
        chance = self.variance + other.variance
        return squared / chance if chance else float("inf") if squared else 0.0


@dataclass(frozen=True, slots=True)
class Likeness:
    """Whether rows point in all directions alike.

    excess: by how much the mean squared cosine of two of them exceeds that of random directions, divided by
    the latter. error: its standard error for such directions. one: what one axis of another spread adds.
    """

    excess: float
    error: float
    one: float

    @classmethod
    def of(cls, rows: FineRows, dims: int, centre: NDArray[np.float64] | None = None) -> Likeness:
        """Of rows of D dimensions; as seen from a centre, which is the mean of all of them."""
        some = evenly(np.arange(len(rows.lengths)), DIRECTED)
        vectors = FineRows(rows.lengths[some], rows.directions[some]).vectors().astype(np.float64)
        if centre is None:
            return cls(_excess(vectors, dims, 0.0), 2.0 / len(some), 1.0 / dims)
        return cls(_excess(vectors - centre, dims, 1.0 / len(rows.lengths)), 2.0 / len(some), 1.0 / dims)

    @property
    def is_none(self) -> bool:
        return self.excess <= CHANCES * self.error + self.one

    def is_clearly_more(self, other: Likeness) -> bool:
        """Whether these rows share directions, so clearly that the others would show it, too, and do not."""
        return other.is_none and self.excess > 2 * CHANCES * max(self.error, other.error)


@dataclass(frozen=True)
class Comparison:
    """Of rows near a centre and others; what takes time is computed when it is asked for. dims: D."""

    near: FineRows
    far: FineRows
    near_mean: Mean
    far_mean: Mean
    dims: int

    @classmethod
    def of(cls, near: FineRows, far: FineRows, dims: int) -> Comparison:
        return cls(near, far, Mean.of(near), Mean.of(far), dims)

    @cached_property
    def is_around(self) -> bool:
        """Whether the near rows lie around the far ones' centre."""
        return self.near_mean.apart(self.far_mean) < SQUARED_CHANCE

    @property
    def is_scaled(self) -> bool:
        """Whether the means of directions are alike, as they are if the rows are a copy in another scale.

        The more rows, the less is chance; but a cut between two scales takes the shortest of the larger one
        and leaves the longest of the smaller one out, so that the means may differ by some part.
        """
        chances, part = self._directions_apart
        return chances < SQUARED_CHANCE or part < SOME_PART

    @property
    def has_own_directions(self) -> bool:
        """Whether the means of directions differ by more than chance."""
        return self._directions_apart[0] >= SQUARED_CHANCE

    @cached_property
    def _directions_apart(self) -> tuple[float, float]:
        """How far the means of directions lie apart: squared, by chance's; as a part of the longer."""
        near, far = (
            Mean.of(FineRows(np.ones(len(rows.lengths)), rows.directions)) for rows in (self.near, self.far)
        )
        apart, *lengths = row_lengths(np.stack([near.vector - far.vector, near.vector, far.vector])).tolist()
        return near.apart(far), apart / max(lengths) if any(lengths) else 0.0

    @cached_property
    def has_far_alike(self) -> bool:
        """Whether the far rows share directions, and the near ones have none in common."""
        return Likeness.of(self.far, self.dims).is_clearly_more(Likeness.of(self.near, self.dims))

    @cached_property
    def is_near_in_groups(self) -> bool:
        """Whether the near rows share directions as seen from their centre."""
        return not Likeness.of(self.near, self.dims, self.near_mean.vector).is_none

    @cached_property
    def is_far_in_groups(self) -> bool:
        return not Likeness.of(self.far, self.dims, self.far_mean.vector).is_none

    @cached_property
    def distance_spreads(self) -> tuple[float, float]:
        """Of the distances of the near rows and of the far ones from the near ones' centre."""
        near, far = (rows.distances(self.near_mean.vector) for rows in (self.near, self.far))
        return _usual_spread(near), _usual_spread(far)


def _usual_spread(values: NDArray[np.float32]) -> float:
    """The same as `spread` of values [R] that are distributed normally; some large ones do not count."""
    low, middle, high = np.quantile(values.astype(np.float64), (0.1587, 0.5, 0.8413)).tolist()
    return float((high - low) / 2.0 / middle)


def spread(values: NDArray[np.float64]) -> float:
    """Standard deviation of values [R], divided by their mean."""
    return float(values.std() / values.mean())


def _excess(vectors: NDArray[np.float64], dims: int, cosine: float) -> float:
    """cosine: of two rows by chance, as they share the centre that was subtracted."""
    lengths = row_lengths(vectors)[:, None]
    directions = np.round(vectors / np.where(lengths > 0.0, lengths, 1.0) * EXACT) / EXACT
    count, cosines = len(directions), directions @ directions.T
    squared = np.add.reduce(np.add.reduce(cosines**2, axis=1) - np.diagonal(cosines) ** 2)
    elements = np.bincount(np.arange(dims) % FINE_DIMS) / dims
    chance = float(np.add.reduce(elements**2)) + cosine**2
    return float(squared) / max(count * (count - 1), 1) / chance - 1.0
