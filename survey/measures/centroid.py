"""The centroid μ: mean of all finite rows, and how its components are spread."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import float32, length, mean_and_std, number
from survey.onepass.result import PassResult
from survey.records.measurement import Centroid


def mean_row(folded: PassResult) -> NDArray[np.float64] | None:
    """μ, [D]; None where no row is finite."""
    rows = int(folded.finite.sum())
    return folded.total / rows if rows else None


def centroid(folded: PassResult) -> Centroid:
    """μ with its L1, L2 and L∞ norms; all None where no row is finite."""
    mu = mean_row(folded)
    if mu is None:
        return Centroid(**dict.fromkeys(Centroid.__dataclass_fields__))
    mean, std = mean_and_std(mu)
    return Centroid(
        centroid_mean=mean,
        centroid_std=std,
        centroid_min=number(mu.min()),
        centroid_max=number(mu.max()),
        centroid_l1=number(math.fsum(np.abs(mu))),
        centroid_l2=number(length(mu)),
        centroid_linf=number(np.abs(mu).max()),
        centroid=float32(mu),
    )
