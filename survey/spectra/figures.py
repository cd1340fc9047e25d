"""What a spectrum says of a cloud of rows: sizes, dimensions in use, and the direction of its spread."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from survey.numerics.row_decoder import DecodedRows
from survey.numerics.vectors import finite_or_none
from survey.spectra.eigen import eigenvalues, leading
from survey.spectra.tail import power_law

# Rounding moves an eigenvalue by a few times 2^-52 of the largest. So squares of singular values below this
# share of the largest square are rounding, and count as zero.
ROUNDED_SHARE = 2.0**-46
# Below this share of the largest, a singular value is not known to 1e-5 of itself.
RESOLVED = 1e-5
EQUAL = 1e-9  # of the first variance: the second is equal, and there is no first direction


@dataclass(frozen=True, slots=True)
class RowMoments:
    """A cloud of rows by its moments. second: the mean of w wᵀ about `mean`, [D, D]. mean: [D]. count: N.

    is_within: as that of a `Covariance`.
    """

    second: DecodedRows
    mean: DecodedRows
    count: int
    is_within: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumFigures:
    """The columns of a spectrum; `survey.records.results.Spectrum` says what each means."""

    singular_values: DecodedRows | None = None
    spectral_norm: float | None = None
    stable_rank: float | None = None
    effective_rank: float | None = None
    participation_ratio: float | None = None
    condition: float | None = None
    pc1_share: float | None = None
    pc1_centroid_angle_deg: float | None = None
    alpha: float | None = None
    alpha_ks: float | None = None


def principal_axes(cloud: RowMoments, device: str, count: int) -> tuple[DecodedRows, DecodedRows]:
    """The leading principal components as columns, [D, K], and the variance along each, [K], K ≤ `count`.

    An axis has no sign of its own: its entry of largest magnitude is positive. K is 0 if variances are
    beyond float64.
    """
    if not (cloud.is_within and np.isfinite(cloud.second).all()):
        return np.zeros((len(cloud.mean), 0)), np.zeros(0)
    values, vectors = leading(cloud.second.copy(), count, device)
    leaders = np.abs(vectors).argmax(axis=0)
    return vectors * np.sign(vectors[leaders, np.arange(len(values))]), values


def figures(cloud: RowMoments, axes: DecodedRows, variances: DecodedRows, device: str) -> SpectrumFigures:
    """All figures of a cloud; those that are undefined, or beyond float64, are None.

    axes, variances: the first two principal components or more, from `principal_axes`.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # lengths beyond float64
        squares = (cloud.second + np.outer(cloud.mean, cloud.mean)) * cloud.count
    if cloud.count == 0 or not (cloud.is_within and np.isfinite(squares).all()):
        return SpectrumFigures()
    # From a size at which neither squares of eigenvalues nor their sums leave float64.
    scale = 2.0 ** math.frexp(float(np.abs(squares).max()))[1]
    values = eigenvalues(squares / scale, device)[: min(cloud.count, len(cloud.mean))]
    values[values < ROUNDED_SHARE * values[0]] = 0.0
    values = np.maximum(values, 0.0)
    share, angle_deg = _first_direction(cloud, axes, variances)
    of_values = _of_squares(values, math.sqrt(scale))
    return replace(of_values, pc1_share=share, pc1_centroid_angle_deg=angle_deg)


def _of_squares(squares: DecodedRows, unit: float) -> SpectrumFigures:
    """The figures of squared singular values, the largest first; unit: the length that 1 stands for."""
    singular = np.sqrt(squares)
    first, total = float(singular[0]), float(squares.sum())
    if first == 0.0:
        return SpectrumFigures(singular_values=singular, spectral_norm=0.0)
    shares = singular[singular > 0.0] / float(singular.sum())
    law = power_law(squares[squares > 0.0])
    is_resolved = singular[-1] >= RESOLVED * first
    return SpectrumFigures(
        singular_values=singular * unit,
        spectral_norm=finite_or_none(first * unit),
        stable_rank=total / float(squares[0]),
        effective_rank=math.exp(-float(np.sum(shares * np.log(shares)))),
        participation_ratio=total * total / float(np.sum(squares * squares)),
        condition=first / float(singular[-1]) if is_resolved else None,
        alpha=law.alpha if law else None,
        alpha_ks=law.distance if law else None,
    )


def _first_direction(
    cloud: RowMoments, axes: DecodedRows, variances: DecodedRows
) -> tuple[float | None, float | None]:
    """The first principal component's share of the variance, and its angle with the centroid."""
    total = float(np.trace(cloud.second))
    if not total > 0.0:
        return None, None
    is_one = len(variances) == 1 or variances[0] - variances[1] > EQUAL * variances[0]
    return float(variances[0]) / total, axis_angle_deg(axes[:, 0], cloud.mean) if is_one else None


def axis_angle_deg(axis: DecodedRows, vector: DecodedRows) -> float | None:
    """The angle between a line along `axis`, of length 1, and a vector, 0 … 90; None if that is zero."""
    largest = float(np.abs(vector).max())
    if not 0.0 < largest < math.inf:
        return None
    scaled = vector / largest
    along = float(np.sum(axis * scaled))
    across = scaled - along * axis
    return math.degrees(math.atan2(math.sqrt(float(np.sum(across * across))), abs(along)))


class Removal:
    """Takes rows out of a cloud: their moments about its mean are added up, and then subtracted."""

    def __init__(self, cloud: RowMoments) -> None:
        self._cloud, self._count = cloud, 0
        self._sum = np.zeros_like(cloud.mean)
        self._products = np.zeros_like(cloud.second)

    def add(self, rows: DecodedRows, populations: DecodedRows) -> Removal:
        """rows: [K, D], those with a NaN or an infinity are in no cloud. populations: of each, [K]."""
        finite = np.isfinite(rows).all(axis=1)
        apart, weights = rows[finite] - self._cloud.mean, populations[finite].astype(np.float64)
        weighted = apart * weights[:, None]
        self._count += int(weights.sum())
        self._sum += weighted.sum(axis=0)
        self._products += weighted.T @ apart
        return self

    def rest(self) -> RowMoments:
        """The cloud of the other rows."""
        cloud, count = self._cloud, self._cloud.count - self._count
        if count <= 0:
            return RowMoments(np.zeros_like(self._products), np.zeros_like(self._sum), 0)
        offset = -self._sum / count
        second = (cloud.second * cloud.count - self._products) / count - np.outer(offset, offset)
        return RowMoments(second, cloud.mean + offset, count, cloud.is_within)
