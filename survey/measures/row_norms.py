"""How long the rows are: mean, spread and quantiles of ‖w_i‖ over the finite rows."""

from __future__ import annotations

import numpy as np

from survey.measures.centroid import mean_row
from survey.numerics.vectors import length, mean_and_std, number
from survey.onepass.result import PassResult
from survey.records.measurement import RowNorms


def row_norms(folded: PassResult) -> RowNorms:
    """Statistics of ‖w_i‖ and the centroid's length in units of its mean; None without rows."""
    norms = folded.sorted_norms
    if len(norms) == 0:
        return RowNorms(**dict.fromkeys(RowNorms.__dataclass_fields__))
    mean, std = mean_and_std(norms)
    p01, p05, p25, p75, p95, p99 = np.quantile(norms, (0.01, 0.05, 0.25, 0.75, 0.95, 0.99))
    mu = mean_row(folded)
    return RowNorms(
        token_norm_mean=mean,
        token_norm_median=number(norms[(len(norms) - 1) // 2]),
        token_norm_std=std,
        token_norm_min=number(norms[0]),
        token_norm_max=number(norms[-1]),
        token_norm_p01=number(p01),
        token_norm_p05=number(p05),
        token_norm_p25=number(p25),
        token_norm_p75=number(p75),
        token_norm_p95=number(p95),
        token_norm_p99=number(p99),
        centroid_ratio=number(length(mu) / mean) if mu is not None and mean else None,
    )
