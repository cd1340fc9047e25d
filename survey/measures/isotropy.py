"""The shape of the cloud of rows by its first two moments: do the rows point in all directions alike?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from survey.measures.centroid import mean_row
from survey.numerics.vectors import exact_sum, finite_or_none
from survey.onepass.result import PassResult
from survey.onepass.sums import weights
from survey.records.measured_columns import Isotropy

TIMES_MEDIAN = 10.0  # of a variance beyond which a dimension is an outlier
# Means of squares and squares of means are each known to some 2^-48 of themselves: a variance below this
# share of the mean square is rounding, and counts as zero.
VARIANCE_ROUNDING = 2.0**-44
LEAST_MEAN_SQUARE = 2.0**-900  # below it mean squares lose their bits
NORM_LIMIT = 2.0**1000  # beyond it, or below its inverse, lengths are not known


def isotropy(result: PassResult) -> Isotropy:
    """Mean cosines of two rows, variances of the dimensions, and the largest components of the centroid."""
    live = result.finite & ~result.dead
    outlier_dims, top_share, participation = _of_variances(result)
    return Isotropy(
        mean_cosine=_mean_cosine(result, result.units, result.finite),
        live_mean_cosine=_mean_cosine(result, result.units - result.dead_sums.units, live),
        outlier_dims=outlier_dims,
        top_dim_variance_share=top_share,
        variance_participation=participation,
        centroid_top3_share=_centroid_top3_share(result),
    )


def _mean_cosine(result: PassResult, units: NDArray[np.float64], rows: NDArray[np.bool_]) -> float | None:
    """The mean of ŵ_i · ŵ_j over pairs i ≠ j of these rows, (‖Σŵ‖² − Σ‖ŵ‖²) / ((Σ‖ŵ‖)² − Σ‖ŵ‖²), to 1e-7.

    None of fewer than two rows, or if the length of one is beyond float64. units: Σŵ, [D].
    """
    norms = result.norms[rows]
    norms = norms[norms > 0]
    if len(norms) < 2 or norms.max() > NORM_LIMIT or norms.min() < 1 / NORM_LIMIT:
        return None
    lengths = norms * weights(norms)  # 1, or up to 2^-22 less
    squared_lengths = exact_sum(lengths * lengths)
    cosines = exact_sum(np.append(units * units, -squared_lengths))
    pairs = exact_sum(lengths) ** 2 - squared_lengths
    return finite_or_none(min(1.0, max(-1.0, cosines / pairs)))


def _of_variances(result: PassResult) -> tuple[int | None, float | None, float | None]:
    """Of the dimensions' variances v over the finite rows: how many are outliers, max v / Σv, (Σv)² / Σv²."""
    mu, count = mean_row(result), int(result.finite.sum())
    if mu is None:
        return None, None, None
    with np.errstate(over="ignore", invalid="ignore"):  # squares beyond float64
        mean_squares = result.squares / count
        variances = mean_squares - mu * mu
    is_lost = bool(result.norms[result.finite].any()) and mean_squares.max() < LEAST_MEAN_SQUARE
    if is_lost or not np.isfinite(variances).all():
        return None, None, None
    variances[variances < VARIANCE_ROUNDING * mean_squares] = 0.0
    largest = float(variances.max())
    if largest == 0.0:
        return 0, None, None
    outliers = int((variances > TIMES_MEDIAN * float(np.median(variances))).sum())
    shares = variances / largest  # so that their squares are within float64
    total = exact_sum(shares)
    return outliers, 1.0 / total, total * total / exact_sum(shares * shares)


def _centroid_top3_share(result: PassResult) -> float | None:
    """The share of ‖μ‖² in its three largest components; None if μ is zero."""
    mu = mean_row(result)
    if mu is None or not np.isfinite(mu).all():
        return None
    largest = float(np.abs(mu).max())
    if largest == 0.0:
        return None
    squares = np.sort((mu / largest) ** 2)
    return math.fsum(squares[-3:].tolist()) / exact_sum(squares)
