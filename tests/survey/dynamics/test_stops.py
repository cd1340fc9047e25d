"""At which step a quantity has stopped, by the one rule."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from survey.dynamics.stops import stop_step

STEPS = np.arange(0, 10_000, 10)
NOISE = np.random.default_rng(0).normal(size=1_000)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.minimum(STEPS, 2_000.0), 1_900),  # within 5 % of the way
        (0.2 - 1e-5 * np.minimum(STEPS, 2_000.0), 1_900),
        (6.75 + 2 * np.exp(-STEPS / 500), 500 * np.log(20)),
        (6.75 + 2 * np.exp(-STEPS / 500) + 0.05 * NOISE, 500 * np.log(20)),
    ],
    ids=["rises", "falls", "decays", "decays, with noise"],
)
def test_it_stops_where_the_last_twentieth_begins(values: NDArray[np.float64], expected: float) -> None:
    result = stop_step(values, STEPS)
    assert result is not None
    assert result == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize(
    "values",
    [STEPS * 1.0, np.sqrt(STEPS), np.ones(1_000), np.where(STEPS == 50, np.nan, 1.0), np.sin(STEPS / 300)],
    ids=["never stops", "creeps on", "never moves", "is not finite", "swings"],
)
def test_what_has_not_stopped_has_no_step(values: NDArray[np.float64]) -> None:
    assert stop_step(values, STEPS) is None


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_records_tell_nothing(count: int) -> None:
    assert stop_step(np.arange(count) * 1.0, STEPS[:count]) is None
