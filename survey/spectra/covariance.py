"""The covariance of a matrix's rows, summed slab by slab; [V, D] never lies in memory as decoded numbers.

Σ(x−c)(x−c)ᵀ is summed in float64, 2,048 rows at a time. Float32 products run twice as fast, but lose small
components beside a large one: one of 10,000 times the variance moved those behind it by 1e-5 of their size
and turned them by 0.3°. The shift c, the mean of the first slab, keeps a cloud that stands far from the
origin from losing its spread to rounding (Chan, Golub and LeVeque 1983); it is subtracted exactly at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from survey.numerics.row_decoder import DecodedRows, RowDecoder
from survey.onepass.geometry import PRODUCT_ROWS
from survey.onepass.row_identity import RowIdentity, by_population, row_digests, rows_of_slab
from survey.onepass.slabs import slabs
from survey.records.blocks import Block

COVARIANCE_SLAB_BYTES = 40 << 20  # of float32: 4,096 rows of 2,560; a product of fewer rows is slower
# Squares of values of this binary exponent, summed over any vocabulary, stay within float64.
SAFE_EXPONENT = 480
LARGEST_POWER = 1000


@dataclass(frozen=True, slots=True)
class Covariance:
    """The covariance of the finite rows, divisor N.

    matrix: [D, D]. total: its trace. mean: [D]. finite: [V]. is_within: whether squares were within float64;
    else the matrix may be infinite, or zero though rows differ.
    """

    matrix: DecodedRows
    total: float
    mean: DecodedRows
    finite: NDArray[np.bool_]
    is_within: bool = True

    @property
    def count(self) -> int:
        """N, the number of finite rows."""
        return int(self.finite.sum())


def rows_per_slab(dims: int) -> int:
    """Rows of one slab at D = `dims`."""
    return max(256, COVARIANCE_SLAB_BYTES // (4 * dims))


class CovarianceSum:
    """Sums products of slabs on a device that has float64: rows go there as stored, and the sums return."""

    def __init__(self, dims: int, device: str) -> None:
        self._device = device
        self._products = torch.zeros((dims, dims), dtype=torch.float64, device=device)
        self._sum = torch.zeros(dims, dtype=torch.float64, device=device)
        self._shift: torch.Tensor | None = None
        self._finite: list[torch.Tensor] = []
        self._is_within = True

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add some rows, [R, D]."""
        for start in range(0, len(rows), PRODUCT_ROWS):
            self._add_slab(torch.from_numpy(np.array(rows[start : start + PRODUCT_ROWS])).to(self._device))

    def _add_slab(self, rows: torch.Tensor) -> None:
        finite, largest = _finite_rows(rows)
        self._finite.append(finite.cpu())
        count = int(finite.sum())
        if count == 0:
            return
        exponent = _common_exponent(largest)
        self._is_within &= exponent == 0
        values = _times_power(rows.double(), -exponent)
        if count < len(rows):
            values[~finite] = 0.0  # first, as a mean of them would not be finite
        if self._shift is None:
            self._shift = _times_power(values.sum(dim=0) / count, exponent)
        values -= _times_power(self._shift, -exponent)
        if count < len(rows):
            values[~finite] = 0.0
        self._sum += _times_power(values.sum(dim=0), exponent)
        self._products += _times_power(_product(values), 2 * exponent)

    def covariance(self) -> Covariance:
        """The covariance of the added rows; all zero if no row is finite."""
        finite: NDArray[np.bool_] = torch.cat(self._finite).numpy()
        count = max(1, int(finite.sum()))
        offset = self._sum / count  # the mean, relative to the shift
        matrix = self._products
        matrix /= count
        matrix -= torch.outer(offset, offset)
        mean = offset if self._shift is None else self._shift + offset
        total = float(matrix.trace())
        return Covariance(matrix.cpu().numpy(), total, mean.cpu().numpy(), finite, self._is_within)


def covariance_and_black_holes(
    blocks: Iterable[Block], decoder: RowDecoder, vocab_rows: int, device: str
) -> tuple[Covariance, list[list[int]]]:
    """The covariance of the rows of [V, D], and the rows of each black hole, the largest first."""
    total, identity = CovarianceSum(decoder.dims, device), RowIdentity(vocab_rows, decoder.row_bytes)
    try:
        slab_bytes = rows_per_slab(decoder.dims) * decoder.row_bytes
        for first_row, slab in decoder.numbered(slabs(blocks, slab_bytes)):
            total.add(decoder.values(slab, first_row))
            identity.add(row_digests(slab, decoder.row_bytes), rows_of_slab(slab, decoder.row_bytes))
        black_hole_rows = sorted(identity.black_hole_rows, key=by_population)
    finally:
        identity.close()
    return total.covariance(), black_hole_rows


def _finite_rows(rows: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Which rows of [R, D] are finite, [R], and the largest magnitude among these."""
    low, high = (float(value) for value in torch.aminmax(rows))
    if math.isfinite(low) and math.isfinite(high):  # nearly always: one look at the values is enough
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device), max(-low, high)
    finite = torch.isfinite(rows).all(dim=1)
    return finite, float(rows[finite].abs().amax()) if bool(finite.any()) else 0.0


def _common_exponent(largest: float) -> int:
    """The exponent by which rows are divided, given their largest magnitude: 0 if squares are in float64."""
    exponent = math.frexp(largest)[1]
    return exponent if abs(exponent) > SAFE_EXPONENT else 0


def _times_power(values: torch.Tensor, exponent: int) -> torch.Tensor:
    """values · 2^exponent, in steps whose factors are in float64."""
    while exponent != 0:
        step = max(-LARGEST_POWER, min(LARGEST_POWER, exponent))
        values, exponent = values * math.ldexp(1.0, step), exponent - step
    return values


def _product(values: torch.Tensor) -> torch.Tensor:
    """xᵀx of [R, D], [D, D]."""
    if values.device.type != "cpu":
        return values.T @ values
    # numpy sees one buffer on both sides and computes one triangle: 2.6 times torch's matmul.
    rows: DecodedRows = values.numpy()
    return torch.from_numpy(rows.T @ rows)
