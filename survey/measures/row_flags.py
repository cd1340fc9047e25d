"""The classes of section "Dead classes" that the per-token table itself decides, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.measures.row_classes import near_zero_below
from survey.records import Tokens

Flags = dict[str, NDArray[np.bool_]]


def row_flags(tokens: Tokens) -> Flags:
    """identical, zero, near_zero, nonfinite: [V] each; the classes may overlap."""
    finite = ~np.isnan(tokens.norm)
    below = near_zero_below(tokens.norm[finite])
    with np.errstate(invalid="ignore"):
        return {
            "identical": tokens.black_hole > 0,
            "zero": tokens.norm == 0.0,
            "near_zero": tokens.norm < below,
            "nonfinite": ~finite,
        }
