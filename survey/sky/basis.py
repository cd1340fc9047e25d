"""Three principal components as the axes of a sphere.

Components are counted from 1, the largest variance first. An eigenvector has no sign of its own: here its
entry of largest magnitude is positive (the first of the entries within 1e-6 of it, so that rounding cannot
choose between two), and a negative index flips it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from survey.errors import UsageError
from survey.numerics.row_decoder import DecodedRows
from survey.spectra.covariance import Covariance
from survey.spectra.eigen import leading

# Neighbouring eigenvalues must differ by this share of the largest one: float32 products leave an error of
# 1e-7 of it, and a component is rotated by the error over the gap.
GAP = 1e-5


@dataclass(frozen=True, slots=True)
class Axes:
    """The components that are the axes, counted from 1; negative: with the opposite sign."""

    north: int = 2  # latitude +90°
    meridian: int = 1  # latitude 0°, longitude 0°
    equinox: int = 3  # latitude 0°, longitude +90°

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Components of meridian, equinox and north: the order of x, y, z."""
        return self.meridian, self.equinox, self.north


@dataclass(frozen=True, slots=True)
class Basis:
    """The axes as columns x, y, z (meridian, equinox, north), [D, 3], and the variance along each."""

    vectors: DecodedRows
    variances: tuple[float, float, float]
    total_variance: float


def check_axes(axes: Axes, dims: int) -> None:
    """Raises UsageError if the axes are not three different components of D."""
    if dims < 3:
        raise UsageError(f"the rows have {dims} dimensions; a sphere needs at least 3")
    for name, number in (("north", axes.north), ("meridian", axes.meridian), ("equinox", axes.equinox)):
        if not 1 <= abs(number) <= dims:
            raise UsageError(
                f"{name} is component {number}, expected 1 … {dims} (the hidden size), or the negative of one"
            )
    if len({abs(number) for number in axes.numbers}) < 3:
        raise UsageError(
            f"north {axes.north}, meridian {axes.meridian} and equinox {axes.equinox} must be three "
            "different components"
        )


def basis(covariance: Covariance, axes: Axes, device: str = "cpu") -> Basis:
    """The axes' eigenvectors, [D, 3]; the covariance's matrix [D, D] is overwritten.

    Only the components down to the last axis are computed, and the eigenvalue after it, on `device`. Raises
    UsageError if an axis is not determined, because its eigenvalue equals a neighbour or is no number.
    """
    check_axes(axes, len(covariance.matrix))
    if not (np.isfinite(covariance.total) and np.isfinite(covariance.matrix).all()):
        raise UsageError("the rows' variances are beyond float64: no component is determined")
    last = max(abs(number) for number in axes.numbers)
    values, vectors = leading(covariance.matrix, last + 1, device)
    for number in axes.numbers:
        _check_gap(values, abs(number) - 1)
    chosen = [_signed(vectors[:, abs(number) - 1]) * np.sign(number) for number in axes.numbers]
    x, y, z = (float(values[abs(number) - 1]) for number in axes.numbers)
    return Basis(np.stack(chosen, axis=1), (x, y, z), covariance.total)


def _check_gap(values: DecodedRows, index: int) -> None:
    for other in (index - 1, index + 1):
        if 0 <= other < len(values) and abs(values[index] - values[other]) <= GAP * values[0]:
            first, second = sorted((index + 1, other + 1))
            raise UsageError(
                f"components {first} and {second} have the same variance ({values[first - 1]:.6g} and "
                f"{values[second - 1]:.6g}): neither direction is determined. Choose other axes with "
                "--north, --meridian, --equinox"
            )


def _signed(vector: DecodedRows) -> DecodedRows:
    """The vector with the sign that makes its largest entry positive."""
    magnitudes = np.abs(vector)
    leader = int(np.argmax(magnitudes >= (1 - 1e-6) * magnitudes.max()))
    return vector if vector[leader] > 0 else -vector
