"""Lengths, angles and spreads of vectors for which plain formulas lose digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from survey.numerics.vectors import angle_deg, cosine, finite_or_none, length, mean_and_std, unit_vector

NAN, INF = float("nan"), float("inf")
NANORADIAN_DEG = 5.729577951308232e-08


def vector(*components: float) -> NDArray[np.float64]:
    return np.array(components, dtype=np.float64)


# ---- length


@pytest.mark.parametrize(
    ("components", "expected"),
    [
        pytest.param((3, 4), 5.0, id="plain"),
        pytest.param((-3, 4), 5.0, id="signs do not matter"),
        pytest.param((3e300, 4e300), 5e300, id="squares overflow"),
        pytest.param((3e-300, 4e-300), 5e-300, id="squares underflow"),
        pytest.param((3e-310, 4e-310), 5e-310, id="denormals"),
        pytest.param((5e-324,), 5e-324, id="the smallest number"),
        pytest.param((1.7e308,), 1.7e308, id="near the largest number"),
        pytest.param((1e300, 1e-300), 1e300, id="both ends at once"),
        pytest.param((2e-21, 0.0), 2e-21, id="as in Llama-3.1"),
        pytest.param((0.0, -0.0), 0.0, id="zero"),
        pytest.param((), 0.0, id="no components"),
    ],
)
def test_length_is_exact_at_any_magnitude(components: tuple[float, ...], expected: float) -> None:
    assert length(vector(*components)) == pytest.approx(expected, rel=1e-13, abs=0.0)


@pytest.mark.parametrize("components", [(1, NAN), (1, INF), (INF, NAN), (-INF, 1)])
def test_length_of_what_is_not_finite_is_not_finite(components: tuple[float, ...]) -> None:
    assert not math.isfinite(length(vector(*components)))


# ---- angle


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param((1, 0), (1, 0), 0.0, id="the same vector"),
        pytest.param((3, 4), (6, 8), 0.0, id="another length"),
        pytest.param((1, 0), (-1, 0), 180.0, id="opposite"),
        pytest.param((3, 4), (-6, -8), 180.0, id="opposite, another length"),
        pytest.param((1, 0), (0, 7), 90.0, id="a right angle"),
        pytest.param((1, 0), (1, 1), 45.0, id="45 degrees"),
        pytest.param((1, 0), (1, 1e-9), NANORADIAN_DEG, id="a billionth of a radian"),
        pytest.param((1, 0), (1, -1e-9), NANORADIAN_DEG, id="to the other side"),
        pytest.param((1, 0), (-1, 1e-9), 180.0 - NANORADIAN_DEG, id="a billionth short of opposite"),
        pytest.param((1e300, 0), (1e-300, 1e-300), 45.0, id="lengths from both ends"),
    ],
)
def test_angle_is_accurate_up_to_both_ends(
    a: tuple[float, float], b: tuple[float, float], expected: float
) -> None:
    result = angle_deg(vector(*a), vector(*b))
    assert result == pytest.approx(expected, rel=1e-12, abs=1e-14)
    assert angle_deg(vector(*b), vector(*a)) == pytest.approx(result, rel=1e-12, abs=1e-14)


def test_angle_of_a_billionth_of_a_radian_would_be_lost_to_acos() -> None:
    assert math.cos(1e-9) == 1.0
    assert angle_deg(vector(1, 0), vector(math.cos(1e-9), math.sin(1e-9))) == pytest.approx(
        NANORADIAN_DEG, rel=1e-12
    )


def test_the_smallest_denormals_keep_their_direction() -> None:
    smallest = 5e-324
    assert angle_deg(vector(smallest, smallest), vector(1, 0)) == pytest.approx(45.0, abs=1e-12)
    assert cosine(vector(smallest, smallest), vector(1, 0)) == pytest.approx(0.5**0.5, abs=1e-12)


@pytest.mark.parametrize(
    "without",
    [
        pytest.param(None, id="nothing"),
        pytest.param(vector(0, 0), id="zero"),
        pytest.param(vector(-0.0, 0), id="zero of either sign"),
        pytest.param(vector(1, NAN), id="a NaN"),
        pytest.param(vector(1, INF), id="an infinity"),
    ],
)
def test_what_has_no_direction_has_no_unit_no_angle_and_no_cosine(
    without: NDArray[np.float64] | None,
) -> None:
    other = vector(3, 4)
    assert unit_vector(without) is None
    assert (angle_deg(without, other), angle_deg(other, without)) == (None, None)
    assert (cosine(without, other), cosine(other, without)) == (None, None)


# ---- cosine


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        pytest.param((1, 0), (5, 0), 1.0, id="the same direction"),
        pytest.param((1, 0), (-5, 0), -1.0, id="opposite"),
        pytest.param((1, 0), (0, 2), 0.0, id="a right angle"),
        pytest.param((3, 4), (4, 3), 0.96, id="24 / 25"),
        pytest.param((3e300, 4e300), (4e-300, 3e-300), 0.96, id="24 / 25 from both ends"),
    ],
)
def test_cosine_of_the_angle(a: tuple[float, float], b: tuple[float, float], expected: float) -> None:
    assert cosine(vector(*a), vector(*b)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_cosine_is_never_beyond_one(sign: float) -> None:
    """Rounding alone takes û·û past 1 for about one vector in seven."""
    made = np.random.default_rng(0)
    for scale in (1.0, 3.0, 1e-200, 1e200):
        for v in made.standard_normal((50, 7)):
            result = cosine(v, sign * scale * v)
            assert result is not None
            assert -1.0 <= result <= 1.0
            assert result == pytest.approx(sign, abs=1e-14)


# ---- mean and standard deviation


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param((), (None, None), id="of nothing: NULL"),
        pytest.param((7,), (7.0, None), id="one value has no spread: NULL"),
        pytest.param((7, 7, 7), (7.0, 0.0), id="equal values"),
        pytest.param((0, 1), (0.5, 0.5**0.5), id="0 and 1, divided by n − 1"),
        pytest.param((0, 0, 0, 1), (0.25, 0.5), id="0 three times and 1: √(3/4 / 3)"),
        pytest.param((1, 2, 3, 4, 5), (3.0, 2.5**0.5), id="1 to 5"),
        pytest.param((-2, 2), (0.0, 8**0.5), id="around zero"),
        pytest.param((1e9, 1e9 + 1), (1e9 + 0.5, 0.5**0.5), id="a spread far smaller than the mean"),
        pytest.param((2e-21, 4e-21), (3e-21, 1.4142135623730951e-21), id="as in Llama-3.1"),
        pytest.param((1e300, 3e300), (2e300, 1.4142135623730951e300), id="squares overflow"),
        pytest.param((1e-300, 3e-300), (2e-300, 1.4142135623730951e-300), id="squares underflow"),
    ],
)
def test_mean_and_standard_deviation(
    values: tuple[float, ...], expected: tuple[float | None, float | None]
) -> None:
    mean, std = mean_and_std(vector(*values))
    assert mean == (None if expected[0] is None else pytest.approx(expected[0], rel=1e-15, abs=0.0))
    assert std == (None if expected[1] is None else pytest.approx(expected[1], rel=1e-14, abs=0.0))


# ---- undefined is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.5, 1.5), (0.0, 0.0), (np.float64(2.5), 2.5), (NAN, None), (INF, None), (-INF, None)],
)
def test_what_is_not_finite_is_null(value: float, expected: float | None) -> None:
    result = finite_or_none(value)
    assert result == expected
    assert result is None or type(result) is float
