"""The form of each row, the hash of its bytes in that form, and the dtypes that hold all values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from support.value_forms import value_hashes

from survey.numerics.dtypes import FLOATS
from survey.onepass.fold import fold
from survey.onepass.row_values import HOLDS, RowForms, RowValues

DIMS = [
    pytest.param(130, id="rows that loops hash"),
    pytest.param(3, id="rows that the library hashes"),
]
WORDS = {"F64": np.uint64, "F32": np.uint32, "F16": np.uint16, "BF16": np.uint16}


def edges(code: str) -> list[int]:
    """Words at which something changes: of all exponents those without, with the first, and with the last bits."""
    form = FLOATS[code]
    mantissa_bits = form.bits - 1 - form.exponent_bits
    kept = {0, 1, 7, 10, 13, 16, 23, 29, 45, mantissa_bits}
    ends = {(1 << mantissa_bits) - (1 << bit) for bit in kept if bit <= mantissa_bits}
    ends |= {1 << bit for bit in kept | {mantissa_bits - 1} if bit < mantissa_bits} | {0}
    exponents = range(form.exponent_values)
    if code == "F64":
        exponents = [0, 1, *range(860, 900), *range(996, 1042), 1149, 1150, 1151, 2046, 2047]
    words = [exponent << mantissa_bits | end for exponent in exponents for end in sorted(ends)]
    return words + [word | 1 << (form.bits - 1) for word in words]


def named(words: NDArray[np.unsignedinteger], code: str) -> tuple[RowValues, int]:
    values = RowValues.empty(len(words))
    held_by = RowForms(FLOATS[code], words.shape[1]).name(words, values)
    return values, held_by


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("code", ["F64", "F32", "F16"])
def test_every_edge_has_its_form_and_its_bytes(code: str, dims: int) -> None:
    """Each word in a row of ones, which are exact everywhere, at one of the row's positions."""
    words = edges(code)
    if dims > 3:
        words = words[::5]
    one = {"F64": 0x3FF << 52, "F32": 0x7F << 23, "F16": 0x3C00}[code]
    rows = np.full((len(words), dims), one, WORDS[code])
    rows[np.arange(len(words)), np.arange(len(words)) % dims] = np.array(words, WORDS[code])
    assert pass_hashes(rows, code) == value_hashes(rows, code)


def pass_hashes(rows: NDArray[np.unsignedinteger], code: str) -> list[int]:
    with fold([rows.view(np.uint8).reshape(-1).data], FLOATS[code], rows.shape, "cpu", threads=1) as result:
        hashes: list[int] = result.value_hashes.tolist()
        return hashes


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("code", ["F64", "F32", "F16"])
def test_the_pass_names_rows_as_the_loops_for_other_formats_do(code: str, dims: int) -> None:
    """float32 is named while it is summed, and where it is decoded from something else, by another loop."""
    words = np.array(edges(code), WORDS[code])
    rows = words[: len(words) // dims * dims].reshape(-1, dims)
    values, held_by = named(rows, code)
    with fold([rows.view(np.uint8).reshape(-1).data], FLOATS[code], rows.shape, "cpu", threads=2) as result:
        assert result.values.forms.tolist() == values.forms.tolist()
        other = (values.forms > 0) & ((code != "F16") | (values.forms != 2))
        assert result.values.hashes[other].tolist() == values.hashes[other].tolist()
        assert result.held_by == held_by


@pytest.mark.parametrize(("code", "held"), [("F8_E4M3", "F8_E4M3"), ("F8_E5M2", "F8_E5M2")])
def test_of_all_words_of_bfloat16_those_of_8_bits_are_held(code: str, held: str) -> None:
    """Each alone, against the 256 values of the format by their definition."""
    import torch

    dtype: torch.dtype = getattr(torch, FLOATS[code].torch_name)
    of_format = torch.arange(256, dtype=torch.uint8).view(dtype).to(torch.float32)
    numbers = of_format[~of_format.isnan()].numpy().view(np.uint32) >> 16
    quiet = {"F8_E4M3": [0x7FC0], "F8_E5M2": [0x7FA0, 0x7FC0, 0x7FE0, 0xFFA0, 0xFFC0, 0xFFE0]}[code]
    holds = [
        bool(
            RowForms(FLOATS["BF16"], 1).name(np.array([[word]], np.uint16), RowValues.empty(1)) & HOLDS[held]
        )
        for word in range(1 << 16)
    ]
    assert set(np.flatnonzero(holds).tolist()) == {*numbers.tolist(), *quiet}
