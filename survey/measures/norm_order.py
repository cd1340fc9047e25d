"""Whether the length of a row follows its id: in a vocabulary of merges, nearly its rank of frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.records.measured_columns import NormOrder, Tokens


def norm_order(tokens: Tokens) -> NormOrder:
    """Spearman's rank correlation of ‖w_i‖ and i over the live rows that are finite and not zero."""
    norms = tokens.norm[(tokens.norm > 0) & (tokens.norm < np.inf) & (tokens.black_hole == 0)]
    if len(norms) < 2:
        return NormOrder(norm_id_spearman=None)
    apart = mean_ranks(norms) - (len(norms) - 1) / 2.0  # from their mean; halves, so that sums are exact
    ids = np.arange(len(norms)) - (len(norms) - 1) / 2.0
    spread = float(np.dot(apart, apart)) * float(np.dot(ids, ids))
    return NormOrder(norm_id_spearman=float(np.dot(apart, ids)) / float(np.sqrt(spread)) if spread else None)


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rank of each of [N], from 0; equal ones share the mean of theirs."""
    order = np.argsort(values)  # the order of equal ones does not show
    ascending = values[order]
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    is_equal = ascending[1:] == ascending[:-1]
    if is_equal.any():
        begins = np.flatnonzero(np.concatenate([[True], ~is_equal]))
        counts = np.diff(np.append(begins, len(values)))
        ranks[order] = np.repeat(begins + (counts - 1) / 2.0, counts)
    return ranks
