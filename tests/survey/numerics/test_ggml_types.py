"""Blocks of llama.cpp's types: every type that the package `gguf` decodes has its values, bit for bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from survey.numerics.ggml_types import COMPILED, block_format, block_size, ggml_type
from survey.numerics.row_decoder import RowDecoder

DECODED = sorted(kind.name for kind in gguf.GGMLQuantizationType if block_format(kind.name))


def same_bits(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
    """Equal in every bit, but for the payload of NaN."""
    equal = (ours.view(np.uint32) == theirs.view(np.uint32)) | (np.isnan(ours) & np.isnan(theirs))
    return bool(equal.all())


@pytest.mark.filterwarnings("ignore:overflow|invalid:RuntimeWarning")  # of the package, by random factors
@pytest.mark.parametrize("name", DECODED)
@pytest.mark.parametrize(("rows", "blocks"), [(1, 1), (3, 5), (70, 2)], ids=["a block", "odd", "many rows"])
def test_a_random_row_has_the_values_of_the_package(name: str, rows: int, blocks: int) -> None:
    elements, size = block_size(name)
    codes = np.random.default_rng(rows).integers(0, 256, (rows, blocks * size), dtype=np.uint8)
    form, dims = block_format(name), blocks * elements
    assert form is not None
    values = form.values(codes.tobytes(), dims)
    assert same_bits(values, gguf.dequantize(codes, gguf.GGMLQuantizationType[name]).reshape(rows, dims))
    with np.errstate(invalid="ignore"):
        assert np.array_equal(
            RowDecoder(form, dims).exact(codes.tobytes(), 0), values.astype(np.float64), equal_nan=True
        )


def test_the_usual_types_are_decoded_by_our_loops_and_all_others_of_the_package_by_itself() -> None:
    assert set(COMPILED) < set(DECODED)
    assert set(DECODED) == {
        "IQ1_M", "IQ1_S", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ3_S", "IQ3_XXS", "IQ4_NL", "IQ4_XS", "MXFP4", "NVFP4",
        "Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0", "TQ1_0", "TQ2_0",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["F32", "BF16", "I8", "I32", "Q8_1", "Q8_K", "Q1_0", "F8_E4M3", "q6_k", ""])
def test_floats_integers_and_types_that_nobody_decodes_are_no_quantised_rows(name: str) -> None:
    assert block_format(name) is None


def test_a_number_that_no_type_has_is_not_guessed() -> None:
    assert [ggml_type(number) for number in (0, 14, 30, 39)] == ["F32", "Q6_K", "BF16", "MXFP4"]
    assert [ggml_type(number) for number in (4, 5, 36, 99, 1 << 31, -1)] == [None] * 6


@pytest.mark.parametrize(
    ("name", "bits"), [("Q8_0", 8.5), ("Q6_K", 6.5625), ("Q4_K", 4.5), ("MXFP4", 4.25), ("IQ1_S", 1.5625)]
)
def test_the_bits_of_a_weight_include_its_share_of_the_factors(name: str, bits: float) -> None:
    form = block_format(name)
    assert form is not None
    assert form.bits_per_weight == bits
    assert form.row_bytes(512) * 8 == bits * 512
