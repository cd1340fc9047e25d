"""What is observed of the vocabulary matrix at a recorded step: numbers, in float64."""

from __future__ import annotations

import math

from torch import Tensor

# Columns of the history's tensor `scalars`, in order; NaN where one is undefined.
SCALARS = (
    "loss",
    "dead_grad_norm",
    "live_grad_norm",
    "live_dead_ratio",
    "coherence",
    "hidden_cosine",
    "centroid_angle_deg",
    "centroid_norm",
    "mean_radius",
    "max_radius",
)


def observe(
    loss: float, gradient: Tensor, hidden_mean: Tensor, matrix: Tensor, dead: Tensor, live: Tensor
) -> list[float]:
    """The SCALARS of one step.

    gradient, matrix: [V, D], of the step and after it. hidden_mean: [D], the mean final hidden state of
    the batch. dead, live: row numbers. coherence is the mean cosine between two dead gradients,
    (‖Σ ĝ‖² − K) / (K (K − 1)); the gradient of a row that never occurs is Σ_t p_t h_t, so the mean of
    the dead ones points along the mean hidden state where the probabilities are alike.
    """
    dead_grads, live_grads = gradient[dead].double(), gradient[live].double()
    dead_rows, live_rows = matrix[dead].double(), matrix[live].double()
    dead_norm, live_norm = (float(rows.norm(dim=1).mean()) for rows in (dead_grads, live_grads))
    centroid, live_centroid = dead_rows.mean(dim=0), live_rows.mean(dim=0)
    radii = (dead_rows - centroid).norm(dim=1)
    angle = angle_between(centroid, live_centroid)
    hidden_angle = angle_between(dead_grads.mean(dim=0), hidden_mean.double())
    return [
        loss,
        dead_norm,
        live_norm,
        live_norm / dead_norm if dead_norm > 0 else math.nan,
        coherence(dead_grads),
        math.cos(hidden_angle),
        math.degrees(angle),
        float(centroid.norm()),
        float(radii.mean()),
        float(radii.max()),
    ]


def coherence(rows: Tensor) -> float:
    """Mean cosine between two different rows of [K, D] that are not zero; NaN with fewer than two."""
    lengths = rows.norm(dim=1, keepdim=True)
    directed = (lengths > 0).squeeze(1)  # where probabilities underflow, gradients are zero
    count = int(directed.sum())
    if count < 2:
        return math.nan
    total = float((rows[directed] / lengths[directed]).sum(dim=0).square().sum())
    return (total - count) / (count * (count - 1))


def angle_between(one: Tensor, other: Tensor) -> float:
    """In radians, by 2·atan2(‖û − v̂‖, ‖û + v̂‖); NaN where one has no direction."""
    if not (float(one.norm()) > 0 and float(other.norm()) > 0):
        return math.nan
    u, v = one / one.norm(), other / other.norm()
    return 2 * math.atan2(float((u - v).norm()), float((u + v).norm()))
