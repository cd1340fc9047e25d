"""The biased exponents of all elements: how many bits they carry, and how the dead differ."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.matrices import folded

from survey.measures.exponents import exponents

NAN, INF = float("nan"), float("inf")
CODES = ["F64", "F32", "F16", "BF16"]
BIAS = {"F64": 1023, "F32": 127, "F16": 15, "BF16": 127}  # the exponent of 1.0
FIELDS = {"F64": 2048, "F32": 256, "F16": 32, "BF16": 256}  # values of the exponent field


def counts(histogram: Sequence[int]) -> dict[int, int]:
    """The exponents that occur."""
    return {exponent: count for exponent, count in enumerate(histogram) if count}


@pytest.mark.parametrize("code", CODES)
def test_histogram_counts_elements_by_the_exponent_field_of_their_dtype(code: str) -> None:
    one = BIAS[code]
    with folded([(1, -1.5, 2), (0.5, 0.75, 4)], code) as rows:
        result = exponents(rows)
    assert len(result.exponents_all) == len(result.exponents_dead) == FIELDS[code]
    assert counts(result.exponents_all) == {one - 1: 2, one: 2, one + 1: 1, one + 2: 1}


@pytest.mark.parametrize("code", CODES)
def test_zeros_and_denormals_have_exponent_zero_and_nonfinite_numbers_the_last(code: str) -> None:
    smallest = {"F64": 5e-324, "F32": 1e-45, "F16": 6e-8, "BF16": 1e-40}[code]
    with folded([(0.0, -0.0, smallest), (INF, -INF, NAN)], code) as rows:
        assert counts(exponents(rows).exponents_all) == {0: 3, FIELDS[code] - 1: 3}


@pytest.mark.parametrize(
    ("row", "bits"),
    [
        pytest.param((1, 1.25, -1.5, 1.75), 0.0, id="one exponent"),
        pytest.param((1, 1, 2, 2), 1.0, id="two, as often"),
        pytest.param((1, 2, 4, 8), 2.0, id="four, as often"),
        pytest.param((1, 1, 2, 4), 1.5, id="a half and two quarters"),
    ],
)
def test_entropy_of_exponents_in_bits(row: tuple[float, ...], bits: float) -> None:
    with folded([row]) as rows:
        assert exponents(rows).exponent_entropy_bits == pytest.approx(bits, abs=1e-15)


@pytest.mark.parametrize("code", CODES)
def test_means_of_dead_and_live_exponents_and_their_offset(code: str) -> None:
    """Dead: exponents 0, 1 of 1 and 2, in three rows; live: 2, 3 of 4 and 8."""
    one = BIAS[code]
    with folded([(1, 2), (4, 8), (1, 2), (1, 2)], code) as rows:
        result = exponents(rows)
    assert counts(result.exponents_dead) == {one: 3, one + 1: 3}
    assert (result.dead_exponent_mean, result.live_exponent_mean) == (one + 0.5, one + 2.5)
    assert result.exponent_offset == 2.0


def test_zeros_and_nan_do_not_move_the_offset() -> None:
    """Dead: exponents 0, 1 of 1 and 2, in two rows, and rows of zeros and NaN; live: 2, 3 of 4 and 8."""
    with folded([(1, 2), (4, 8), (1, 2), (0, 0), (0, 0), (NAN, 1), (NAN, 1)]) as rows:
        assert exponents(rows).exponent_offset == 2.0


def test_exponents_of_rows_that_are_not_finite_count() -> None:
    with folded([(NAN, 1), (NAN, 1), (INF, 1)], "F32") as rows:
        result = exponents(rows)
    assert (counts(result.exponents_all), counts(result.exponents_dead)) == (
        {127: 3, 255: 3},
        {127: 2, 255: 2},
    )
    assert (result.dead_exponent_mean, result.live_exponent_mean) == (191.0, 191.0)
    assert (result.exponent_offset, result.shared_exponent_dims) == (None, None)


@pytest.mark.parametrize(
    ("holes", "expected"),
    [
        pytest.param([(1, 2, 4)], 3, id="one black hole shares with itself"),
        pytest.param([(1, 2, 4), (1.5, -3, 7)], 3, id="signs and mantissas do not matter"),
        pytest.param([(1, 2, 4), (1.5, 3, 8)], 2, id="one dimension differs"),
        pytest.param([(1, 2, 4), (1, 4, 4), (1, 2, 8)], 1, id="each of two dimensions differs once"),
        pytest.param([(1, 2, 4), (4, 1, 2)], 0, id="every dimension differs"),
        pytest.param([], None, id="no black hole: NULL"),
        pytest.param([(1, 2, 4), (0, 0, 0)], 3, id="one of zeros is left out"),
        pytest.param([(1, 2, 4), (0, -0.0, 0)], 3, id="one of zeros of either sign is left out"),
        pytest.param([(1, 2, 4), (NAN, 1, 1)], 3, id="one with a NaN is left out"),
        pytest.param([(1, 2, 4), (INF, 1, 1)], 3, id="one with an infinity is left out"),
        pytest.param([(0, 0, 0), (NAN, 1, 1)], None, id="nothing but such: NULL"),
    ],
)
def test_dimensions_in_which_all_black_holes_share_an_exponent(
    holes: list[tuple[float, ...]], expected: int | None
) -> None:
    live = (64.0, 128.0, 256.0)
    with folded([*holes, live, *holes], "BF16") as rows:
        assert exponents(rows).shared_exponent_dims == expected


def test_columns_of_the_dead_are_null_without_black_holes_and_the_histogram_is_empty() -> None:
    with folded([(1, 2), (4, 8)]) as rows:
        result = exponents(rows)
    assert (result.dead_exponent_mean, result.exponent_offset) == (None, None)
    assert result.live_exponent_mean == 1024.5
    assert counts(result.exponents_dead) == {}


def test_columns_of_the_live_are_null_if_all_rows_are_dead() -> None:
    with folded([(1, 2), (1, 2)]) as rows:
        result = exponents(rows)
    assert (result.dead_exponent_mean, result.live_exponent_mean) == (1023.5, None)
    assert result.exponent_offset is None
    assert result.exponents_dead == result.exponents_all
