"""The centroid μ: mean of all finite rows, and the spread of its components."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import exact_sum, finite_or_none, float32, length, mean_and_std
from survey.onepass.result import PassResult
from survey.records.measured_columns import Centroid


def mean_row(result: PassResult) -> NDArray[np.float64] | None:
    """μ, [D]; None if no row is finite."""
    rows = int(result.finite.sum())
    return result.total / rows if rows else None


def centroid(result: PassResult) -> Centroid:
    """μ with its L1, L2 and L∞ norms; all None if no row is finite."""
    mu = mean_row(result)
    if mu is None:
        return Centroid(**dict.fromkeys(Centroid.__dataclass_fields__))
    mean, std = mean_and_std(mu)
    return Centroid(
        centroid_mean=mean,
        centroid_std=std,
        centroid_min=finite_or_none(mu.min()),
        centroid_max=finite_or_none(mu.max()),
        centroid_l1=finite_or_none(exact_sum(np.abs(mu))),
        centroid_l2=finite_or_none(length(mu)),
        centroid_linf=finite_or_none(np.abs(mu).max()),
        centroid=float32(mu),
    )
