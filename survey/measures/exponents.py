"""The biased exponents of all elements: how many bits they carry, and how the dead rows differ."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from survey.onepass.result import PassResult
from survey.records.measurement import Exponents


def exponents(result: PassResult) -> Exponents:
    """Histograms of the biased exponent over all rows and over the dead ones."""
    every, dead = result.exponents, result.dead_sums.exponents
    dead_mean, live_mean = _mean(dead), _mean(every - dead)
    return Exponents(
        exponent_entropy_bits=_entropy_bits(every),
        dead_exponent_mean=dead_mean,
        live_exponent_mean=live_mean,
        exponent_offset=(None if dead_mean is None or live_mean is None else live_mean - dead_mean),
        shared_exponent_dims=result.dead_sums.shared_exponent_dims if result.black_hole_rows else None,
        exponents_all=tuple(every.tolist()),
        exponents_dead=tuple(dead.tolist()),
    )


def _mean(counts: NDArray[np.int64]) -> float | None:
    """Mean exponent of a histogram [exponent values]; None if it is empty."""
    elements = int(counts.sum())
    if elements == 0:
        return None
    return int((counts * np.arange(len(counts))).sum()) / elements


def _entropy_bits(counts: NDArray[np.int64]) -> float:
    """Shannon entropy −Σ p·log₂ p of a histogram [exponent values]."""
    elements = int(counts.sum())
    shares = [int(count) / elements for count in counts if count]
    return abs(math.fsum(share * math.log2(share) for share in shares))
