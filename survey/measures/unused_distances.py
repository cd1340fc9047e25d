"""How far each row lies from the mean of rows that are known to be unused: the published indicators.

S. Land and M. Bartolo, "Fishing for Magikarp: Automatically Detecting Under-trained Tokens in Large
Language Models" (2024), section 3: the cosine distance to that mean after the first principal component
was removed from both, and the plain L2 distance to it. The third indicator, the norm of the input
embedding, is the column `norm` of the input matrix.

It needs two more reads of the matrix, and a Gram matrix [D, D]: only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.decoding import widen
from survey.numerics.dtypes import FloatFormat
from survey.numerics.scale import Scale
from survey.onepass.layout import CHUNK_ROWS
from survey.onepass.slabs import slabs
from survey.records.blocks import Block

Float64s = NDArray[np.float64]
CONVERGED = 1e-13
ITERATIONS = 2000  # eigenvalues that differ by 3 % take some hundred
BESIDE = 8  # directions that are iterated together: the first converges by the gap to the ninth


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """A [V, D] matrix that can be read again. blocks: its stored bytes, in order, anew at each call."""

    blocks: Callable[[], Iterable[Block]]
    form: FloatFormat
    shape: tuple[int, int]
    scale: Scale | None = None

    def chunks(self) -> Iterator[tuple[int, Float64s]]:
        """The number of the first row, and the rows, 1,024 at a time, as float64."""
        _, dims = self.shape
        start = 0
        for slab in slabs(self.blocks(), CHUNK_ROWS * dims * self.form.item_bytes):
            rows = widen(bytes(slab), self.form, dims)
            if self.scale is not None:
                rows = self.scale.times(rows, np.arange(start, start + len(rows)))
            yield start, rows
            start += len(rows)


@dataclass(frozen=True, slots=True)
class UnusedDistances:
    """cosine: 1 − cos, l2: both [V]; NaN where a row is not finite or has no direction."""

    cosine: Float64s
    l2: Float64s


def unused_distances(matrix: StoredMatrix, unused: Sequence[int]) -> UnusedDistances:
    """Distances to the mean of the finite rows among `unused`, of which there must be one at least."""
    first, mean = _first_component_and_mean(matrix, unused)
    mean_without = mean - (mean @ first) * first
    rows, _ = matrix.shape
    cosine, l2 = np.full(rows, np.nan), np.full(rows, np.nan)
    for start, chunk in matrix.chunks():
        here = slice(start, start + len(chunk))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            without = chunk - np.outer(chunk @ first, first)
            lengths = np.linalg.norm(without, axis=1) * np.linalg.norm(mean_without)
            cosine[here] = 1.0 - (without @ mean_without) / lengths
            l2[here] = np.linalg.norm(chunk - mean, axis=1)
    return UnusedDistances(cosine, l2)


def _first_component_and_mean(matrix: StoredMatrix, unused: Sequence[int]) -> tuple[Float64s, Float64s]:
    """The first principal component of the finite rows, [D], and the mean of the unused ones, [D]."""
    rows, dims = matrix.shape
    known = np.zeros(rows, dtype=bool)
    known[list(unused)] = True
    gram, total, of_unused = np.zeros((dims, dims)), np.zeros(dims), np.zeros(dims)
    count = unused_count = 0
    for start, chunk in matrix.chunks():
        finite = np.isfinite(chunk).all(axis=1)
        chosen = known[start : start + len(chunk)] & finite
        of_unused += chunk[chosen].sum(axis=0)
        unused_count += int(chosen.sum())
        used = chunk[finite]
        gram += used.T @ used
        total += used.sum(axis=0)
        count += len(used)
    mean = total / max(count, 1)
    return _first_eigenvector(gram / max(count, 1) - np.outer(mean, mean)), of_unused / max(unused_count, 1)


def _first_eigenvector(covariance: Float64s) -> Float64s:
    """That of the largest eigenvalue, by orthogonal iteration; the sign is of no meaning."""
    dims = len(covariance)
    width = min(BESIDE, dims)
    basis, _ = np.linalg.qr(np.random.Generator(np.random.PCG64(0)).normal(size=(dims, width)))
    first: Float64s = basis[:, 0]
    for _ in range(ITERATIONS):
        basis, _ = np.linalg.qr(covariance @ basis)
        values, turns = np.linalg.eigh(basis.T @ covariance @ basis)
        first = basis @ turns[:, -1]
        if np.linalg.norm(covariance @ first - values[-1] * first) <= CONVERGED * max(values[-1], 1e-300):
            break
    return first
