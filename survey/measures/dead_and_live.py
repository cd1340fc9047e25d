"""The centroid of the dead rows against that of the live ones; finite rows only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.measures.centroid import mean_row
from survey.numerics.vectors import angle_deg, cosine, float32, length, mean_and_std, number
from survey.onepass.result import PassResult
from survey.records.columns import Vector
from survey.records.measurement import DeadAndLive


def dead_mean(folded: PassResult) -> NDArray[np.float64] | None:
    """Mean of the dead rows, weighted by population, [D]; None where there is none."""
    rows = int((folded.dead & folded.finite).sum())
    return folded.dead_total / rows if rows else None


def live_mean(folded: PassResult) -> NDArray[np.float64] | None:
    """Mean of the live rows, [D]; None where there is none."""
    rows = int((~folded.dead & folded.finite).sum())
    return folded.live_total / rows if rows else None


def dead_and_live(folded: PassResult) -> DeadAndLive:
    """Both centroids, how far and at what angle they lie apart, and their rows' lengths."""
    dead, live, full = dead_mean(folded), live_mean(folded), mean_row(folded)
    dead_norm_mean, dead_norm_std = mean_and_std(folded.norms[folded.dead & folded.finite])
    live_norm_mean, live_norm_std = mean_and_std(folded.norms[~folded.dead & folded.finite])
    return DeadAndLive(
        dead_centroid_l2=_length(dead),
        live_centroid_l2=_length(live),
        dead_live_cosine=cosine(dead, live),
        dead_live_angle_deg=angle_deg(dead, live),
        dead_live_distance=_distance(dead, live),
        dead_full_distance=_distance(dead, full),
        dead_norm_mean=dead_norm_mean,
        dead_norm_std=dead_norm_std,
        live_norm_mean=live_norm_mean,
        live_norm_std=live_norm_std,
        # A mean and a sum point the same way, so the sum of the vectors will do.
        black_hole_mean_cosine=cosine(folded.holes.vector_total, dead),
        dead_centroid=_vector(dead),
        live_centroid=_vector(live),
    )


def _length(vector: NDArray[np.float64] | None) -> float | None:
    return None if vector is None else number(length(vector))


def _distance(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float | None:
    return None if a is None or b is None else number(length(a - b))


def _vector(vector: NDArray[np.float64] | None) -> Vector | None:
    return None if vector is None else float32(vector)
