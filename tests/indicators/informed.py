"""The rule that knows more than any detector: of every other row, whether it is untrained.

Each row is judged on the axis between the mean of the other untrained rows and that of the other trained ones, on
which both kinds are normally distributed: it is untrained if it is the likelier so. For two cones among rows of one
length that is the likelihood ratio, which no rule exceeds (J. Neyman and E. Pearson 1933).
"""

from __future__ import annotations

import numpy as np
from indicators.published import Flags
from support.planted_rows import PlantedMatrix


def informed(matrix: PlantedMatrix) -> Flags:
    rows, untrained = matrix.rows.astype(np.float64), matrix.untrained
    inside, outside = rows[untrained], rows[~untrained]
    if min(len(inside), len(outside)) < 2:
        return np.zeros(len(rows), dtype=bool)
    others_inside = (inside.sum(axis=0) - inside) / (len(inside) - 1)
    axis = inside.mean(axis=0) - outside.mean(axis=0)
    along = rows @ (axis / np.linalg.norm(axis))  # a trained row hardly moves the mean of so many
    axes = others_inside - outside.mean(axis=0)
    along[untrained] = np.einsum("ij,ij->i", inside, axes) / np.linalg.norm(axes, axis=1)
    log_odds = np.log(len(inside) / len(outside)) + _log_density(along, along[untrained])
    flags: Flags = log_odds > _log_density(along, along[~untrained])
    return flags


def _log_density(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    spread = of.std()
    density: np.ndarray = -(((values - of.mean()) / spread) ** 2) / 2.0 - np.log(spread)
    return density
