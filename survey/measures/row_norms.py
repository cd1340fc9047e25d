"""The rows' lengths: mean, spread and quantiles of ‖w_i‖ over the finite rows."""

from __future__ import annotations

import numpy as np

from survey.measures.centroid import mean_row
from survey.numerics.vectors import finite_or_none, length, mean_and_std
from survey.onepass.result import PassResult
from survey.records.measured_columns import RowNorms


def row_norms(result: PassResult) -> RowNorms:
    """Statistics of ‖w_i‖, and the centroid's length in units of the mean; all None if no row is finite."""
    norms = result.sorted_norms
    if len(norms) == 0:
        return RowNorms(**dict.fromkeys(RowNorms.__dataclass_fields__))
    mean, std = mean_and_std(norms)
    with np.errstate(invalid="ignore"):  # norms beyond float64
        p01, p05, p25, p75, p95, p99 = np.quantile(norms, (0.01, 0.05, 0.25, 0.75, 0.95, 0.99))
    mu = mean_row(result)
    return RowNorms(
        token_norm_mean=mean,
        token_norm_median=finite_or_none(norms[(len(norms) - 1) // 2]),
        token_norm_std=std,
        token_norm_min=finite_or_none(norms[0]),
        token_norm_max=finite_or_none(norms[-1]),
        token_norm_p01=finite_or_none(p01),
        token_norm_p05=finite_or_none(p05),
        token_norm_p25=finite_or_none(p25),
        token_norm_p75=finite_or_none(p75),
        token_norm_p95=finite_or_none(p95),
        token_norm_p99=finite_or_none(p99),
        centroid_ratio=finite_or_none(length(mu) / mean) if mu is not None and mean else None,
    )
