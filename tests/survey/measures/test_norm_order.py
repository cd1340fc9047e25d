"""The rank correlation of lengths and ids, against scipy's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from survey.measures.norm_order import norm_order
from survey.records.measured_columns import Tokens

Norms = NDArray[np.float64]


def tokens(norm: Norms, dead: slice | None = None) -> Tokens:
    rank = np.zeros(len(norm), np.int32)
    if dead is not None:
        rank[dead] = 1
    return Tokens(norm=norm, row_hash=np.zeros(len(norm), np.uint64), black_hole=rank)


LENGTHS: dict[str, Callable[[np.random.Generator], Norms]] = {
    "unrelated to the ids": lambda draw: draw.random(5_000) + 1.0,
    "falling with the ids": lambda draw: 2.0 - np.arange(5_000) / 5_000 + 0.1 * draw.normal(size=5_000),
    "with many ties": lambda draw: np.round(draw.random(5_000), 2) + 1.0,
    "in a vocabulary of 262,144": lambda draw: np.exp(draw.normal(size=262_144) - np.arange(262_144) / 1e5),
    "two rows": lambda draw: np.array([2.0, 1.0]),
}


@pytest.mark.parametrize("make", LENGTHS.values(), ids=LENGTHS)
def test_it_is_spearmans_correlation(make: Callable[[np.random.Generator], Norms]) -> None:
    norms = make(np.random.default_rng(1))
    expected = spearmanr(norms, np.arange(len(norms))).statistic
    assert norm_order(tokens(norms)).norm_id_spearman == pytest.approx(expected, abs=1e-12)


def test_dead_zero_and_nonfinite_rows_do_not_count() -> None:
    norms = np.random.default_rng(2).random(400) + 1.0
    others = norms.copy()
    others[[3, 50]] = (np.nan, 0.0)
    counted = np.setdiff1d(np.arange(400), [3, 50, *range(100, 200)])
    expected = spearmanr(norms[counted], counted).statistic
    assert norm_order(tokens(others, slice(100, 200))).norm_id_spearman == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "norms",
    [[], [1.0], [1.0, 1.0, 1.0], [0.0, 1.0], [np.nan, np.nan]],
    ids=["none", "one", "equal", "a zero", "no numbers"],
)
def test_without_two_different_lengths_it_is_null(norms: list[float]) -> None:
    assert norm_order(tokens(np.array(norms))).norm_id_spearman is None
