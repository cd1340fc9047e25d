"""The compiled loops against numpy and Python: the same bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from survey.numerics.decoding import biased_exponents, widen
from survey.numerics.dtypes import FLOATS, FloatFormat
from survey.onepass.geometry import PROJECTION_DIMS
from survey.onepass.kernels.distances import (
    SAMPLE_BLOCK,
    WINDOW,
    count_close,
    find_nearest,
    square_distances,
)
from survey.onepass.kernels.exact_sum import add_up
from survey.onepass.kernels.exponents import COUNTER_ROUNDS, MANY_OTHERS, STRETCH, count_exponents
from survey.onepass.kernels.float_vectors import load_float16, store_floats
from survey.onepass.kernels.jit import njit, widens_float16
from survey.onepass.kernels.ranks import find_ranks
from survey.onepass.projection import signs
from survey.onepass.sums import RowSums
from survey.onepass.sums_cpu import CompiledSums


@pytest.mark.parametrize("code", ["BF16", "F16", "F8_E4M3", "F8_E5M2"])
def test_every_word_is_folded_as_its_value(code: str) -> None:
    """A matrix [V, 1] of all words: the norm is the magnitude, the sketch's only element the sign."""
    form = FLOATS[code]
    words = np.arange(1 << form.bits, dtype=f"<u{form.item_bytes}")
    expected = widen(words.tobytes(), form, 1)[:, 0]
    number = np.isfinite(expected)
    rows, sums = RowSums.empty(len(words)), CompiledSums(form, 1, 1024)
    for start in range(0, len(words), 1024):
        sums.of(words[start : start + 1024].tobytes(), rows.part(start, start + 1024))
    assert np.array_equal(rows.finite, number)
    assert rows.norms[number].tobytes() == np.abs(expected[number]).tobytes()
    assert np.array_equal(rows.directions[number, 0], np.sign(expected[number]) * signs(1)[0])


@pytest.mark.parametrize("by_instruction", [True, False])
def test_float16_is_widened_by_the_processor_and_without_it(
    monkeypatch: pytest.MonkeyPatch, by_instruction: bool
) -> None:
    if by_instruction and not widens_float16():
        pytest.skip("this processor has no instruction for it")
    monkeypatch.setattr("survey.onepass.kernels.float_vectors.widens_float16", lambda: by_instruction)

    @njit()
    def widen_all(words: NDArray[np.uint16], values: NDArray[np.float64]) -> None:
        for start in range(0, words.size, 8):
            store_floats(values, start, load_float16(words, start))

    words, values = np.arange(1 << 16, dtype=np.uint16), np.empty(1 << 16)
    widen_all(words, values)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(values, words.view(np.float16).astype(np.float64), equal_nan=True)
        assert np.array_equal(np.signbit(values), words >= 1 << 15)


def drawn(kind: str, count: int, form: FloatFormat) -> bytes:
    draw = np.random.default_rng(5)
    words = draw.integers(0, 1 << form.bits, count, dtype=f"<u{form.item_bytes}", endpoint=False)
    kept = 1 + form.bits - 1 - form.exponent_bits  # sign and mantissa, as they were drawn
    middle = form.exponent_values // 2
    exponents = {
        "neighbours, as weights have them": middle - draw.geometric(0.5, count),
        "outliers above and below": middle + draw.integers(-1, 2, count) * draw.geometric(0.1, count),
        "any": draw.integers(0, form.exponent_values, count),
        "another one for each stretch": np.arange(count) // (2 * STRETCH) * 7,
        "the largest": np.full(count, form.exponent_values - 1),
        "zeros": np.zeros(count, np.int64),
        "zeros among others": np.where(np.arange(count) % 5_000 < 1_000, 0, middle),
        "few others": np.where(np.arange(count) % STRETCH < MANY_OTHERS, 1, form.exponent_values - 2),
        "one more": np.where(np.arange(count) % STRETCH < MANY_OTHERS + 1, 1, form.exponent_values - 2),
    }[kind]
    exponents = np.clip(exponents, 0, form.exponent_values - 1).astype(words.dtype)
    mantissa = (1 << (kept - 1)) - 1
    return (words & words.dtype.type(mantissa | 1 << (form.bits - 1)) | exponents << (kept - 1)).tobytes()


@pytest.mark.parametrize("code", ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize(
    "kind",
    [
        "neighbours, as weights have them",
        "outliers above and below",
        "any",
        "another one for each stretch",
        "the largest",
        "zeros",
        "zeros among others",
        "few others",
        "one more",
    ],
)
def test_every_exponent_is_counted(code: str, kind: str) -> None:
    form = FLOATS[code]
    for count in (0, 1, STRETCH - 1, STRETCH, 3 * STRETCH * COUNTER_ROUNDS + 17):
        stored = drawn(kind, count, form)
        upper = np.frombuffer(stored, dtype=f"<u{min(form.item_bytes, 2)}")
        result = np.zeros(form.exponent_values, dtype=np.int64)
        stride = max(1, form.item_bytes // 2)
        count_exponents(upper, stride, min(form.bits, 16) - 1 - form.exponent_bits, result)
        expected = np.bincount(biased_exponents(stored, form, 1)[:, 0], minlength=form.exponent_values)
        assert np.array_equal(result, expected), count


def test_distances_are_added_in_numpys_order() -> None:
    draw = np.random.default_rng(1)
    rows = (draw.normal(size=(5_000, PROJECTION_DIMS)) * 10.0 ** draw.uniform(-9, 9, (5_000, 1))).astype("f4")
    centre, result = rows[17].copy(), np.empty(len(rows), dtype=np.float32)
    square_distances(rows, centre, result)
    assert result.tobytes() == np.add.reduce(np.square(rows - centre), axis=1).tobytes()
    assert result[17] == 0.0


@pytest.mark.parametrize("others", [1, 4, 5, SAMPLE_BLOCK, 3 * SAMPLE_BLOCK])
def test_the_nearest_of_a_sample_are_those_of_all_distances(others: int) -> None:
    draw = np.random.default_rng(2)
    sample, rows = (draw.normal(size=(count, PROJECTION_DIMS)).astype("f4") for count in (others, 20))
    columns = np.full((PROJECTION_DIMS, -(-others // SAMPLE_BLOCK) * SAMPLE_BLOCK), np.inf, dtype="f4")
    columns[:, :others] = sample.T
    nearest = np.empty((len(rows), min(5, others)), dtype="f4")
    find_nearest(rows, columns, nearest)
    for row, result in zip(rows, nearest, strict=True):
        apart = np.empty(others, dtype="f4")
        square_distances(sample, row, apart)
        assert result.tobytes() == np.sort(apart)[: len(result)].tobytes()


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(np.arange(7), id="few"),
        pytest.param(np.full(1000, 0.3), id="all equal"),
        pytest.param(np.random.default_rng(0).normal(1.0, 1e-3, 100_000), id="close together"),
        pytest.param(np.random.default_rng(0).exponential(1.0, 10_001) ** 9, id="far apart"),
        pytest.param(np.array([0.0, np.inf, 1e-45, 3e38, np.inf]), id="the ends of the format"),
    ],
)
def test_ranks_are_those_of_sorted_numbers(values: NDArray[np.float64]) -> None:
    words = values.astype(np.float32).view(np.uint32)
    ranks = np.array([0, (len(words) - 1) // 2, len(words) // 2, len(words) - 1])
    result = np.empty(len(ranks), dtype=np.uint32)
    find_ranks(words, ranks, result)
    assert result.tobytes() == np.sort(values.astype(np.float32))[ranks].tobytes()


@pytest.mark.parametrize("parts", [[700], [1, 699], [255, 445], [300, 16, 384], [100] * 7])
def test_close_pairs_are_counted_once_however_the_rows_are_divided(parts: list[int]) -> None:
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(700, PROJECTION_DIMS)).astype("f4")
    rows[1::2] = rows[::2] + 1e-3
    numbers, most = draw.permutation(700).astype(np.int64), np.float32(50.0)
    expected, close = np.zeros(700, dtype=np.int32), np.zeros(700, dtype=np.int32)
    for apart in range(1, WINDOW + 1):
        squared = np.square(rows[numbers[apart:]] - rows[numbers[:-apart]]).sum(axis=1)
        expected[apart:] += squared <= most
        expected[:-apart] += squared <= most
    start = 0
    for count in parts:
        part = numbers[start : start + count + WINDOW]
        count_close(rows, part, count, most, close[start : start + len(part)])
        start += count
    assert np.array_equal(close, expected)
    assert 0 in expected
    assert expected.max() > 0


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="nothing"),
        pytest.param([0.1] * 10, id="tenths"),
        pytest.param([1e100, 1.0, -1e100], id="what cancels"),
        pytest.param([1.0, 2.0**-53, 2.0**-106], id="just above a tie"),
        pytest.param([1.0, 2.0**-53, -(2.0**-106)], id="just below a tie"),
        pytest.param([1.0, 2.0**-53], id="a tie"),
        pytest.param([5e-324] * 7, id="subnormal"),
        *(
            pytest.param((draw.normal(size=5000) * 10.0 ** draw.uniform(-spread, spread, 5000)).tolist(), id=f"{spread} decades")
            for spread in (0, 1, 4, 20)
            for draw in (np.random.default_rng(spread),)
        ),
    ],
)  # fmt: skip
def test_a_sum_is_that_of_python_or_left_to_it(values: list[float]) -> None:
    result = np.empty(3)
    add_up(np.array(values), result)
    total, least, most = result.tolist()
    assert least <= math.fsum(values) <= most
    if least == most:
        assert total == math.fsum(values)


def test_a_sum_of_many_lengths_is_seldom_left_to_python() -> None:
    result, sure = np.empty(3), 0
    for seed in range(100):
        add_up(np.random.default_rng(seed).normal(1.0, 0.1, size=20_000) ** 2, result)
        sure += result[1] == result[2]
    assert sure >= 98
