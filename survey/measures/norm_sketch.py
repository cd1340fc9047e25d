"""Lengths of rows at fixed token ids: 4 kB, by which the lengths of two matrices are compared id by id.

Re-saving in another dtype, scaling and fine-tuning change every row's bytes, but hardly the ratios of their
lengths. The ids are the same for every matrix, whatever its size: all below 128, then 64 in each octave, so
that a vocabulary that was cut has the same ids up to its end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from survey.records.column_field import Float32
from survey.records.measured_columns import NormSketch, Tokens

IDS_IN_OCTAVE = 64


def norm_sketch(tokens: Tokens) -> NormSketch:
    """The lengths at the sampled ids, [S]; None for rows that are zero, not finite or in a black hole."""
    ids = sampled_ids(len(tokens.norm))
    with np.errstate(over="ignore"):  # a length beyond float32 becomes infinite, then None
        lengths = tokens.norm[ids].astype(np.float32)
    informative = (lengths > 0) & (lengths < np.inf) & (tokens.black_hole[ids] == 0)  # NaN is not > 0
    known = zip(lengths.tolist(), informative.tolist(), strict=True)
    return NormSketch(norm_sketch=tuple(Float32(length) if use else None for length, use in known))


def sampled_ids(rows: int) -> NDArray[np.int64]:
    """Ascending ids below `rows`, [S] with S ≤ 64 · log2(rows); those of fewer rows are the first of them."""
    octaves = [np.arange(2 * IDS_IN_OCTAVE)]
    start = 2 * IDS_IN_OCTAVE
    while start < rows:
        octaves.append(np.arange(start, 2 * start, start // IDS_IN_OCTAVE))
        start *= 2
    ids = np.concatenate(octaves)
    return ids[ids < rows]
