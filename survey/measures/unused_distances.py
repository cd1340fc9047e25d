"""How far each row lies from the mean of rows that are known to be unused: the published indicators.

S. Land and M. Bartolo, "Fishing for Magikarp: Automatically Detecting Under-trained Tokens in Large
Language Models" (2024), section 3: the cosine distance to that mean after the first principal component
was removed from both, and the plain L2 distance to it. The third indicator, the norm of the input
embedding, is the column `norm` of the input matrix.

It needs two more reads of the matrix, and a Gram matrix [D, D]: it is made only if a run asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from survey.numerics.row_decoder import RowDecoder
from survey.numerics.vectors import Float64s
from survey.onepass.geometry import CHUNK_ROWS
from survey.onepass.slabs import slabs
from survey.records.blocks import Block

CONVERGED = 1e-13
ITERATIONS = 2000  # eigenvalues that differ by 3 % take some hundred
BESIDE = 8  # directions that are iterated together: the first converges by the gap to the ninth


@dataclass(frozen=True, slots=True)
class StoredMatrix:
    """A [V, D] matrix that can be read again. blocks: its stored bytes, in order, anew at each call."""

    blocks: Callable[[], Iterable[Block]]
    vocab_rows: int
    decoder: RowDecoder

    def chunks(self) -> Iterator[tuple[int, Float64s]]:
        """The number of the first row, and 1,024 rows at a time, [R, D]."""
        chunk_bytes = CHUNK_ROWS * self.decoder.row_bytes
        for first_row, slab in self.decoder.numbered(slabs(self.blocks(), chunk_bytes)):
            yield first_row, self.decoder.exact(slab, first_row)


@dataclass(frozen=True, slots=True)
class UnusedDistances:
    """cosine: 1 − cos, l2: both [V]; NaN if a row is not finite or has no direction."""

    cosine: Float64s
    l2: Float64s


def unused_distances(matrix: StoredMatrix, unused: Sequence[int]) -> UnusedDistances:
    """Distances to the mean of the finite rows among `unused`, at least one row number."""
    component, mean = _first_component_and_mean(matrix, unused)
    mean_without = mean - (mean @ component) * component
    rows = matrix.vocab_rows
    cosine, l2 = np.full(rows, np.nan), np.full(rows, np.nan)
    for start, chunk in matrix.chunks():
        here = slice(start, start + len(chunk))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            without = chunk - np.outer(chunk @ component, component)
            lengths = np.linalg.norm(without, axis=1) * np.linalg.norm(mean_without)
            cosine[here] = 1.0 - (without @ mean_without) / lengths
            l2[here] = np.linalg.norm(chunk - mean, axis=1)
    return UnusedDistances(cosine, l2)


def _first_component_and_mean(matrix: StoredMatrix, unused: Sequence[int]) -> tuple[Float64s, Float64s]:
    """The first principal component of the finite rows, [D], and the mean of the unused ones, [D]."""
    rows, dims = matrix.vocab_rows, matrix.decoder.dims
    is_unused = np.zeros(rows, dtype=bool)
    is_unused[list(unused)] = True
    gram, total, unused_total = np.zeros((dims, dims)), np.zeros(dims), np.zeros(dims)
    count = unused_count = 0
    for start, chunk in matrix.chunks():
        finite = np.isfinite(chunk).all(axis=1)
        unused_here = is_unused[start : start + len(chunk)] & finite
        unused_total += chunk[unused_here].sum(axis=0)
        unused_count += int(unused_here.sum())
        finite_rows = chunk[finite]
        gram += finite_rows.T @ finite_rows
        total += finite_rows.sum(axis=0)
        count += len(finite_rows)
    mean = total / max(count, 1)
    covariance = gram / max(count, 1) - np.outer(mean, mean)
    return _first_eigenvector(covariance), unused_total / max(unused_count, 1)


def _first_eigenvector(covariance: Float64s) -> Float64s:
    """The eigenvector [D] of the largest eigenvalue, by orthogonal iteration; its sign is arbitrary."""
    dims = len(covariance)
    width = min(BESIDE, dims)
    basis, _ = np.linalg.qr(np.random.Generator(np.random.PCG64(0)).normal(size=(dims, width)))
    first: Float64s = basis[:, 0]
    for _ in range(ITERATIONS):
        basis, _ = np.linalg.qr(covariance @ basis)
        values, rotation = np.linalg.eigh(basis.T @ covariance @ basis)
        first = basis @ rotation[:, -1]
        if np.linalg.norm(covariance @ first - values[-1] * first) <= CONVERGED * max(values[-1], 1e-300):
            break
    return first
