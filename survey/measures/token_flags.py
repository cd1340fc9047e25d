"""Classes of rows that the per-token table alone decides: identical, zero, frozen and their like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import near_zero_below
from survey.records.measured_columns import Tokens

FlagsByClass = dict[str, NDArray[np.bool_]]


def token_flags(tokens: Tokens) -> FlagsByClass:
    """Flags of each class by its name, [V] each; classes may overlap.

    Tables of older versions lack `frozen` and `undertrained`.
    """
    finite = ~np.isnan(tokens.norm)
    below = near_zero_below(np.sort(tokens.norm[finite]))
    with np.errstate(invalid="ignore"):
        searched = {"frozen": tokens.frozen, "undertrained": tokens.undertrained}
        return {name: flags for name, flags in searched.items() if flags is not None} | {
            "identical": tokens.black_hole > 0,
            "zero": tokens.norm == 0.0,
            "near_zero": (tokens.norm == 0.0) | (tokens.norm < below),
            "nonfinite": ~finite,
        }
