"""The power law of a tail, against the package `powerlaw` on the same values."""

from __future__ import annotations

import numpy as np
import powerlaw
import pytest

from survey.spectra.tail import FEWEST_VALUES, power_law

VALUES = {
    "a power law of 2.5": lambda draw: (1.0 - draw.random(2000)) ** (-1 / 1.5),
    "a power law of 4 above a bulk": lambda draw: np.concatenate(
        [draw.uniform(0.5, 1.0, 3000), (1.0 - draw.random(600)) ** (-1 / 3.0)]
    ),
    "squared singular values of noise": lambda draw: np.linalg.svd(draw.normal(size=(400, 300)))[1] ** 2,
    "lognormal": lambda draw: np.exp(draw.normal(size=500)),
    "tiny numbers": lambda draw: 1e-12 * (1.0 - draw.random(300)) ** -1.0,
    "some of them equal": lambda draw: np.round((1.0 - draw.random(400)) ** -0.7, 1),
}


@pytest.mark.filterwarnings("ignore:Standard error:DeprecationWarning")  # the package's own, about itself
@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("seed", [1, 2])
def test_exponent_distance_and_start_are_those_of_the_package(make, seed: int) -> None:  # type: ignore[no-untyped-def]
    values = make(np.random.default_rng(seed))
    # Its range of exponents is 1 to 3 if none is given.
    theirs = powerlaw.Fit(values, verbose=False, parameter_ranges={"alpha": [1.0, 1e6]})
    ours = power_law(values)
    assert ours is not None
    assert ours.distance == pytest.approx(theirs.D, rel=1e-6)
    assert ours.begins == pytest.approx(theirs.xmin, rel=1e-9)
    assert ours.alpha == pytest.approx(theirs.alpha, rel=1e-6)


@pytest.mark.parametrize("values", [np.arange(1.0, FEWEST_VALUES), np.full(300, 2.0), np.array([])])
def test_no_law_is_stated_for_few_values_or_one(values: np.ndarray) -> None:
    assert power_law(values) is None
