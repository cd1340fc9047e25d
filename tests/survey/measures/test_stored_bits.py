"""Entropies of stored bits, of matrices whose bits are known by construction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import survey

UNIFORM = np.random.default_rng(3).integers(0, 1 << 16, (4_000, 64), dtype=np.uint16)


def of_bfloat16(words: NDArray[np.uint16]) -> torch.Tensor:
    return torch.from_numpy(words.view(np.int16)).view(torch.bfloat16)


def test_mantissas_of_all_values_take_all_their_bits_and_random_exponents_cannot_be_compressed() -> None:
    words = UNIFORM & np.uint16(0xBFFF)  # no NaN or infinity: half of all exponents
    bits = survey.measure(of_bfloat16(words))
    assert bits.mantissa_entropy_bits == pytest.approx(7.0, abs=1e-3)
    assert bits.compressed_bits_per_weight == pytest.approx(15.0, abs=1e-2)


def test_one_mantissa_and_one_exponent_carry_nothing() -> None:
    bits = survey.measure(of_bfloat16(np.full((100, 64), 0x3F80, np.uint16)))
    assert (bits.mantissa_entropy_bits, bits.compressed_bits_per_weight) == (0.0, 8.0)


def test_an_upcast_matrix_has_the_mantissas_of_the_dtype_before() -> None:
    narrow = of_bfloat16(UNIFORM & np.uint16(0xBFFF))
    wide = survey.measure(narrow.to(torch.float32))
    assert wide.mantissa_entropy_bits == pytest.approx(survey.measure(narrow).mantissa_entropy_bits)
    assert wide.compressed_bits_per_weight == pytest.approx(31.0, abs=1e-2)


def test_a_large_matrix_is_counted_in_evenly_spaced_rows_whatever_the_threads() -> None:
    """Every fourth row has mantissas, of which each other one is counted: the others have none."""
    words = np.full((8 * 4_096, 256), 0x3F80, np.uint16)
    words[::4] |= np.random.default_rng(4).integers(0, 128, (8_192, 256), dtype=np.uint16)
    counted = [survey.measure(of_bfloat16(words), threads=threads) for threads in (1, 3)]
    assert counted[0].mantissa_entropy_bits == counted[1].mantissa_entropy_bits
    assert counted[0].mantissa_entropy_bits == pytest.approx(7.0, abs=1e-3)
