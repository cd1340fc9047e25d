"""bf16 rounded once, and the exponent ladder, by hand and against exact fractions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.matrices import TORCH, WORDS, cloud, plant, raw, repeat
from support.sky_reference import nearest_bf16, reference_ladder

from survey.numerics.dtypes import FLOATS
from survey.numerics.row_decoder import RowDecoder
from survey.onepass.slabs import slabs
from survey.sky.neighbours import neighbours, round_to_bf16

LARGEST = 255.0 * 2.0**120


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, 0.0),
        (1.0, 1.0),
        (1 + 2**-8, 1.0),  # a tie goes to the even neighbour
        (1 + 3 * 2**-8, 1 + 2**-6),
        (1 + 2**-8 + 2**-40, 1 + 2**-7),  # float32 in between would make it a tie, and round it down
        (-0.1377, -0.1376953125),
        (255.75, 256.0),
        (2.0**-133, 2.0**-133),
        (2.0**-134, 0.0),  # a tie below the smallest number
        (1.5 * 2.0**-133, 2.0**-132),
        (LARGEST, LARGEST),
        (LARGEST + 2.0**118, LARGEST),
        (LARGEST + 2.0**119, np.inf),
        (1e300, np.inf),
        (-np.inf, -np.inf),
    ],
)
def test_the_nearest_bf16_number(value: float, expected: float) -> None:
    assert nearest_bf16(value) == expected
    assert round_to_bf16(np.array([value]))[0] == expected


def test_rounding_agrees_with_exact_fractions() -> None:
    chance = np.random.default_rng(0)
    values = chance.standard_normal(3000) * 2.0 ** chance.integers(-140, 130, 3000)
    assert round_to_bf16(values).tolist() == [nearest_bf16(value) for value in values.tolist()]
    assert np.isnan(round_to_bf16(np.array([np.nan])))[0]


def test_numbers_of_bf16_stay_as_they_are() -> None:
    every = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16).double().numpy()
    np.testing.assert_array_equal(round_to_bf16(every), every)


@pytest.mark.parametrize("code", TORCH)
@pytest.mark.parametrize("rows_at_once", [1, 37, 1000])
def test_dots_and_ladder_in_every_format(code: str, rows_at_once: int) -> None:
    tensor = repeat(cloud(code, 200, 12), (5, 9, 150))
    tensor[7] = -tensor[5]  # a sign is no exponent
    tensor[8] = 0.0
    plant(tensor, 20, "nan", slice(3, 4))
    form, stored = FLOATS[code], raw(tensor)
    row_bytes = 12 * form.item_bytes
    result = neighbours(
        slabs([stored], rows_at_once * row_bytes),
        RowDecoder(form, 12),
        5,
        bytes(stored[5 * row_bytes : 6 * row_bytes]),
    )
    wide = tensor.double().numpy()
    np.testing.assert_allclose(result.dots, wide @ wide[5], rtol=1e-14, equal_nan=True)
    words = tensor.view(WORDS[code]).numpy()
    words = words.view(words.dtype.str.replace("i", "u"))
    assert list(result.ladder) == reference_ladder(
        words, form.exponent_bits, form.bits - 1 - form.exponent_bits, 5
    )
    assert result.ladder[0] >= 4


def test_a_ladder_by_hand() -> None:
    tensor = torch.tensor(
        [[1.0, 1.0], [1.5, -1.9], [2.0, 1.0], [0.25, 4.0], [1.0, 2.0**20]], dtype=torch.bfloat16
    )
    stored = raw(tensor)
    result = neighbours([stored], RowDecoder(FLOATS["BF16"], 2), 0, bytes(stored[:4]))
    assert result.ladder == (2, 3, *[4] * 15)
