"""The classes of section "Dead classes" that the per-token table itself decides, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.numerics.vectors import near_zero_below
from survey.records.measurement import Tokens

FlagsByClass = dict[str, NDArray[np.bool_]]


def token_flags(tokens: Tokens) -> FlagsByClass:
    """The classes that are known of every row, [V] each; they may overlap."""
    finite = ~np.isnan(tokens.norm)
    below = near_zero_below(np.sort(tokens.norm[finite]))
    with np.errstate(invalid="ignore"):
        told = {"frozen": tokens.frozen, "undertrained": tokens.undertrained}
        return {name: flags for name, flags in told.items() if flags is not None} | {
            "identical": tokens.black_hole > 0,
            "zero": tokens.norm == 0.0,
            "near_zero": tokens.norm < below,
            "nonfinite": ~finite,
        }
