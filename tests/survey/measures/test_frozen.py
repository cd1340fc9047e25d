"""Singletons around black holes: planted at known rows, in units of the dead rows' own spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import survey

V, D = 6_000, 256


def planted(
    count: int, noise: float, clouds: int = 1, seed: int = 1, dtype: torch.dtype = torch.bfloat16
) -> tuple[torch.Tensor, NDArray[np.bool_]]:
    """Trained rows, and rows left with almost nothing but what was common: which they are.

    noise: of the untrained rows, relative to their length and from row to row very different, so that
    rounding makes some of them equal and leaves others alone.
    """
    made = np.random.default_rng(seed)
    rows = made.normal(size=(V, D)) / np.sqrt(D) + 0.02 * made.normal(size=D)
    untrained = np.zeros(V, dtype=bool)
    chosen = made.permutation(V)[:count]
    untrained[chosen] = True
    for cloud in range(clouds):
        part = chosen[cloud::clouds]
        wild = np.exp(3 * made.normal(size=(len(part), 1)))
        rows[part] = 0.025 * (made.normal(size=D) + noise * wild * made.normal(size=(len(part), D)))
    return torch.from_numpy(rows).to(dtype), untrained


@pytest.mark.parametrize(
    ("count", "noise", "clouds"),
    [(1000, 1e-6, 1), (1000, 1e-5, 1), (300, 1e-5, 1), (20, 1e-6, 1), (600, 1e-5, 2), (600, 1e-5, 3)],
)
def test_singletons_around_black_holes_are_found_and_no_trained_row(
    count: int, noise: float, clouds: int
) -> None:
    matrix, untrained = planted(count, noise, clouds)
    result = survey.measure(matrix)
    dead = result.tokens.black_hole > 0
    singletons = untrained & ~dead
    assert dead.any()
    assert not (dead & ~untrained).any()
    assert singletons.sum() >= 5
    assert result.tokens.frozen is not None
    assert np.array_equal(np.flatnonzero(result.tokens.frozen), np.flatnonzero(singletons))
    assert result.frozen_rows == singletons.sum()


@pytest.mark.parametrize("scale", [2.0**-30, 2.0**30])
def test_the_unit_of_length_does_not_matter(scale: float) -> None:
    matrix, _ = planted(300, 1e-5)
    assert survey.measure(matrix * scale).frozen_rows == survey.measure(matrix).frozen_rows


def test_one_black_hole_alone_has_its_rounding_for_a_spread() -> None:
    """Two equal rows, and three that differ from them in the last bit of a few dimensions."""
    matrix, _ = planted(0, 0.0)
    matrix[[1, 2, 3, 4]] = matrix[0].clone()
    bits = matrix.view(torch.int16)
    for row, dims in ((2, [3]), (3, [5, 9]), (4, [1, 2, 3, 4])):
        bits[row, dims] ^= 1
    result = survey.measure(matrix)
    assert result.black_hole_sizes == (2,)
    assert result.tokens.frozen is not None
    assert np.flatnonzero(result.tokens.frozen).tolist() == [2, 3, 4]


def test_two_trained_rows_that_are_equal_freeze_nobody() -> None:
    matrix, _ = planted(0, 0.0)
    matrix[17], matrix[40] = matrix[5].clone(), matrix[90].clone()
    assert survey.measure(matrix).frozen_rows == 0


def test_equal_rows_of_zero_freeze_nobody() -> None:
    matrix, _ = planted(0, 0.0)
    matrix[:9] = 0.0
    matrix[9:20] *= 1e-12
    assert survey.measure(matrix).frozen_rows == 0


def test_without_dead_rows_no_row_is_frozen() -> None:
    matrix, _ = planted(0, 0.0)
    assert survey.measure(matrix).frozen_rows is None
