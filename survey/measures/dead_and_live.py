"""The centroid of the dead rows against that of the live ones; finite rows only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.measures.centroid import mean_row
from survey.numerics.vectors import (
    angle_deg,
    cosine,
    distance_or_none,
    float32,
    length_or_none,
    mean_and_std,
)
from survey.onepass.result import PassResult
from survey.records.measured_columns import DeadAndLive


def dead_mean(result: PassResult) -> NDArray[np.float64] | None:
    """Mean of the finite dead rows, weighted by population, [D]; None if there is none."""
    rows = int((result.dead & result.finite).sum())
    return result.dead_total / rows if rows else None


def live_mean(result: PassResult) -> NDArray[np.float64] | None:
    """Mean of the finite live rows, [D]; None if there is none."""
    rows = int((~result.dead & result.finite).sum())
    return result.live_total / rows if rows else None


def dead_and_live(result: PassResult) -> DeadAndLive:
    """Both centroids, the distance and the angle between them, and the lengths of their rows."""
    dead, live, full = dead_mean(result), live_mean(result), mean_row(result)
    dead_norm_mean, dead_norm_std = mean_and_std(result.norms[result.dead & result.finite])
    live_norm_mean, live_norm_std = mean_and_std(result.norms[~result.dead & result.finite])
    is_zero = result.finite & (result.norms == 0.0)
    nonzero = result.dead & result.finite & ~is_zero
    dead_nonzero_norm_mean, _ = mean_and_std(result.norms[nonzero])
    return DeadAndLive(
        dead_centroid_l2=length_or_none(dead),
        live_centroid_l2=length_or_none(live),
        dead_live_cosine=cosine(dead, live),
        dead_live_angle_deg=angle_deg(dead, live),
        dead_live_distance=distance_or_none(dead, live),
        dead_full_distance=distance_or_none(dead, full),
        dead_norm_mean=dead_norm_mean,
        dead_norm_std=dead_norm_std,
        live_norm_mean=live_norm_mean,
        live_norm_std=live_norm_std,
        dead_zero_rows=int((result.dead & is_zero).sum()) if result.black_hole_rows else None,
        dead_nonfinite_rows=int((result.dead & ~result.finite).sum()) if result.black_hole_rows else None,
        # Zero rows add nothing to a sum.
        dead_nonzero_centroid_l2=length_or_none(result.dead_total / nonzero.sum()) if nonzero.any() else None,
        dead_nonzero_norm_mean=dead_nonzero_norm_mean,
        # A mean and a sum point the same way, so the sum of the vectors will do.
        black_hole_mean_cosine=cosine(result.dead_sums.vector_total, dead),
        dead_centroid=None if dead is None else float32(dead),
        live_centroid=None if live is None else float32(live),
    )
