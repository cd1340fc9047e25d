"""The covariance of a matrix's rows, summed slab by slab; [V, D] never lies in memory as decoded numbers.

Σ(x−c)(x−c)ᵀ is summed in float64, 2,048 rows at a time. Float32 products run twice as fast, but lose small
components beside a large one: one of 10,000 times the variance moved those behind it by 1e-5 of their size
and turned them by 0.3°. The shift c, the mean of the first slab, keeps a cloud that stands far from the
origin from losing its spread to rounding (Chan, Golub and LeVeque 1983); it is subtracted exactly at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from survey.numerics.row_decoder import DecodedRows

COVARIANCE_SLAB_BYTES = 40 << 20  # of float32: 4,096 rows of 2,560; a product of fewer rows is slower
PRODUCT_ROWS = 2048  # rows that are widened to float64 at a time
# Squares of values of this binary exponent, summed over any vocabulary, stay within float64.
SAFE_EXPONENT = 480


@dataclass(frozen=True, slots=True)
class Covariance:
    """The covariance of the finite rows, divisor N. matrix: [D, D]; total: its trace; finite: [V]."""

    matrix: DecodedRows
    total: float
    finite: NDArray[np.bool_]


def rows_per_slab(dims: int) -> int:
    """Rows of one slab at D = `dims`."""
    return max(256, COVARIANCE_SLAB_BYTES // (4 * dims))


class CovarianceSum:
    """Sums products of slabs. device: computes the products; sums stay on the CPU."""

    def __init__(self, dims: int, device: str) -> None:
        self._device = device
        self._products: DecodedRows = np.zeros((dims, dims))
        self._sum: DecodedRows = np.zeros(dims)
        self._shift: DecodedRows | None = None
        self._finite: list[NDArray[np.bool_]] = []

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add some rows, [R, D]."""
        for start in range(0, len(rows), PRODUCT_ROWS):
            self._add_slab(rows[start : start + PRODUCT_ROWS])

    def _add_slab(self, rows: NDArray[np.floating]) -> None:
        values, exponent, finite = _scaled(rows)
        self._finite.append(finite)
        if not finite.any():
            return
        if self._shift is None:
            self._shift = np.ldexp(values[finite].mean(axis=0), exponent)
        values -= np.ldexp(self._shift, -exponent)
        values[~finite] = 0.0
        product = _product(values, self._device)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float64: `basis` refuses it
            self._sum += np.ldexp(values.sum(axis=0), exponent)
            self._products += np.ldexp(product, 2 * exponent) if exponent else product

    def covariance(self) -> Covariance:
        """The covariance of the added rows; all zero if no row is finite."""
        finite = np.concatenate(self._finite)
        count = max(1, int(finite.sum()))
        offset = self._sum / count  # the mean, relative to the shift
        matrix = self._products
        matrix /= count
        with np.errstate(over="ignore", invalid="ignore"):
            matrix -= np.outer(offset, offset)
            total = float(np.trace(matrix))
        return Covariance(matrix, total, finite)


def _scaled(values: NDArray[np.floating]) -> tuple[DecodedRows, int, NDArray[np.bool_]]:
    """A copy of [R, D] in float64, divided by 2^exponent; the exponent; which rows are finite, [R]."""
    finite = np.ones(len(values), dtype=bool)
    largest = max(float(values.max()), -float(values.min()))
    if not np.isfinite(largest):
        finite = np.isfinite(values).all(axis=1)
        largest = float(np.abs(values[finite]).max()) if finite.any() else 0.0
    exponent = int(np.frexp(largest)[1])
    if abs(exponent) <= SAFE_EXPONENT:
        exponent = 0
    wide = values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # rows that are not finite, which are not read
        return np.ldexp(wide, -exponent) if exponent else wide, exponent, finite


def _product(values: DecodedRows, device: str) -> DecodedRows:
    """xᵀx of [R, D], [D, D]."""
    if device == "cpu":
        # numpy sees one buffer on both sides and computes one triangle: 2.6 times torch's matmul.
        product: DecodedRows = values.T @ values
        return product
    import torch  # here, so that a study on the CPU never loads it

    moved = torch.from_numpy(values).to(device)
    moved_product: DecodedRows = (moved.T @ moved).cpu().numpy()
    return moved_product
