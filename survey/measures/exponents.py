"""The biased exponents of all elements: how many bits they carry, and how the dead differ."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from survey.onepass.result import PassResult
from survey.records.measurement import Exponents


def exponents(folded: PassResult) -> Exponents:
    """Histograms of the biased exponent over all rows and over the dead ones."""
    every, dead = folded.exponents, folded.holes.exponents_dead
    dead_mean, live_mean = _mean(dead), _mean(every - dead)
    return Exponents(
        exponent_entropy_bits=_entropy_bits(every),
        dead_exponent_mean=dead_mean,
        live_exponent_mean=live_mean,
        exponent_offset=(None if dead_mean is None or live_mean is None else live_mean - dead_mean),
        shared_exponent_dims=folded.holes.shared_exponent_dims if folded.members else None,
        exponents_all=tuple(every.tolist()),
        exponents_dead=tuple(dead.tolist()),
    )


def _mean(counts: NDArray[np.int64]) -> float | None:
    elements = int(counts.sum())
    if elements == 0:
        return None
    return int((counts * np.arange(len(counts))).sum()) / elements


def _entropy_bits(counts: NDArray[np.int64]) -> float:
    """Shannon entropy −Σ p·log₂ p of a histogram."""
    elements = int(counts.sum())
    shares = [int(count) / elements for count in counts if count]
    return abs(math.fsum(share * math.log2(share) for share in shares))
