"""Three published ways to name untrained rows, applied to matrices in which these are known.

- S. Land and M. Bartolo, "Fishing for Magikarp" (2024): the L2 norm, and the cosine and L2 distances to the mean
  of known unused rows, the cosine after the first principal component was removed. They rank rows and set no
  threshold: their R-precision is the share of untrained rows among as many of the first as there are.
- unsloth's `fix_untrained_tokens`: rows without an element above 1e-16.
- mergekit's `well_trained_tokens`: the known unused rows, the 5 % of rows with the shortest norm, and the 5 %
  nearest to the mean of the known unused ones by cosine.

Those that need known unused rows get up to fifty of the untrained ones, which no real model would name so
completely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from support.planted_rows import PlantedMatrix

KNOWN = 50
UNSLOTH_LEAST = 1e-16
MERGEKIT_QUANTILE = 0.05

Flags = NDArray[np.bool_]
Scores = tuple[float | None, float | None]  # precision and recall; None if there is none


@dataclass(frozen=True, slots=True)
class Published:
    """R-precision of three rankings; None if no row is untrained. Flags of two rules, [V]."""

    norm: float | None
    cosine: float | None
    l2: float | None
    unsloth: Flags
    mergekit: Flags


def published(matrix: PlantedMatrix) -> Published:
    rows = matrix.rows.astype(np.float64)
    untrained = np.flatnonzero(matrix.untrained)
    norms = np.linalg.norm(rows, axis=1)
    known = untrained[:KNOWN] if len(untrained) else np.arange(0)
    unsloth = rows.max(axis=1) <= UNSLOTH_LEAST
    shortest = norms < np.quantile(norms, MERGEKIT_QUANTILE)
    if len(known) == 0:
        return Published(None, None, None, unsloth, shortest)
    mean = rows[known].mean(axis=0)
    cosines = rows @ mean / (norms * np.linalg.norm(mean))
    mergekit = shortest | (cosines > np.quantile(cosines, 1 - MERGEKIT_QUANTILE))
    mergekit[known] = True
    component = _first_component(rows)
    without, mean_without = (part - np.outer(part @ component, component) for part in (rows, mean[None]))
    lengths = np.linalg.norm(without, axis=1) * np.linalg.norm(mean_without)
    cosine_distances = 1.0 - (without @ mean_without[0]) / lengths
    return Published(
        norm=_r_precision(norms, matrix.untrained),
        cosine=_r_precision(cosine_distances, matrix.untrained),
        l2=_r_precision(np.linalg.norm(rows - mean, axis=1), matrix.untrained),
        unsloth=unsloth,
        mergekit=mergekit,
    )


def precision_and_recall(flags: Flags, untrained: Flags) -> Scores:
    """None if nothing is flagged, or nothing untrained."""
    right = int((flags & untrained).sum())
    flagged, there = int(flags.sum()), int(untrained.sum())
    return (right / flagged if flagged else None), (right / there if there else None)


def _r_precision(scores: NDArray[np.float64], untrained: Flags) -> float:
    """The share of untrained rows among the lowest scores, as many as there are."""
    count = int(untrained.sum())
    lowest = np.argsort(scores, kind="stable")[:count]
    return int(untrained[lowest].sum()) / count


def _first_component(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = rows - rows.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    component: NDArray[np.float64] = vectors[:, -1]
    return component
