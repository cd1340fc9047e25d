"""Figures of the vocabulary matrix at a recorded step, in float64."""

from __future__ import annotations

import math

from torch import Tensor

from survey.numerics.vectors import angle_deg, cosine

# Columns of the history's tensor `scalars`, in order; NaN if one is undefined.
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

    gradient: [V, D], of the step. matrix: [V, D], after it. hidden_mean: [D], the mean final hidden state of
    the batch. dead, live: row numbers, [K] and [V − K]. coherence is the mean cosine between two dead
    gradients, (‖Σ ĝ‖² − K) / (K (K − 1)). The gradient of a row that never occurs is Σ_t p_t h_t, so the mean
    of the dead ones points along the mean hidden state if the probabilities are alike.
    """
    dead_grads, live_grads = gradient[dead].double(), gradient[live].double()
    dead_rows, live_rows = matrix[dead].double(), matrix[live].double()
    dead_norm, live_norm = (float(rows.norm(dim=1).mean()) for rows in (dead_grads, live_grads))
    centroid, live_centroid = dead_rows.mean(dim=0), live_rows.mean(dim=0)
    radii = (dead_rows - centroid).norm(dim=1)
    return [
        loss,
        dead_norm,
        live_norm,
        live_norm / dead_norm if dead_norm > 0 else math.nan,
        coherence(dead_grads),
        _or_nan(cosine(dead_grads.mean(dim=0).numpy(), hidden_mean.double().numpy())),
        _or_nan(angle_deg(centroid.numpy(), live_centroid.numpy())),
        float(centroid.norm()),
        float(radii.mean()),
        float(radii.max()),
    ]


def coherence(rows: Tensor) -> float:
    """Mean cosine between two different rows of [K, D] that are not zero; NaN with fewer than two."""
    lengths = rows.norm(dim=1, keepdim=True)
    directed = (lengths > 0).squeeze(1)  # probabilities that underflow make gradients of zero
    count = int(directed.sum())
    if count < 2:
        return math.nan
    total = float((rows[directed] / lengths[directed]).sum(dim=0).square().sum())
    return (total - count) / (count * (count - 1))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
