"""The biased exponents of all elements: how many bits they carry, and how the dead rows differ."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from survey.onepass.result import PassResult
from survey.records.measured_columns import Exponents


def exponents(result: PassResult) -> Exponents:
    """Histograms of the biased exponent over all rows and over the dead ones.

    The exponents of zeros, NaN and infinity say nothing of how dead rows were initialised: black holes of
    such rows are left out of the offset and of the shared dimensions.
    """
    every, sums = result.exponents, result.dead_sums
    if not len(every):  # codes of a quantised matrix
        return Exponents(**dict.fromkeys(field.name for field in fields(Exponents)))
    live_mean, nonzero_mean = _mean(every - sums.exponents), _mean(sums.nonzero_exponents)
    return Exponents(
        exponent_entropy_bits=entropy_bits(every),
        dead_exponent_mean=_mean(sums.exponents),
        live_exponent_mean=live_mean,
        exponent_offset=None if nonzero_mean is None or live_mean is None else live_mean - nonzero_mean,
        shared_exponent_dims=sums.shared_exponent_dims,
        exponents_all=tuple(every.tolist()),
        exponents_dead=tuple(sums.exponents.tolist()),
    )


def _mean(counts: NDArray[np.int64]) -> float | None:
    """Mean exponent of a histogram [exponent values]; None if it is empty."""
    elements = int(counts.sum())
    if elements == 0:
        return None
    return int((counts * np.arange(len(counts))).sum()) / elements


def entropy_bits(counts: NDArray[np.int64]) -> float:
    """Shannon entropy −Σ p·log₂ p of a histogram [exponent values]."""
    elements = int(counts.sum())
    shares = [int(count) / elements for count in counts if count]
    return abs(math.fsum(share * math.log2(share) for share in shares))
