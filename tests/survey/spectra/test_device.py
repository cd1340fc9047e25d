"""Which device computes the spectra of a run: `auto` takes GPUs alone."""

from __future__ import annotations

import pytest

from survey.records.settings import SpectrumChoice
from survey.records.tensors import ByteRange, TensorSpec
from survey.spectra.device import device_of_spectrum

LARGE, SMALL = (151_936, 2_560), (3_000, 64)


@pytest.mark.parametrize(
    ("choice", "requested", "has_gpu", "shape", "device"),
    [
        ("auto", "auto", True, LARGE, "cuda"),
        ("auto", "auto", True, SMALL, "cpu"),  # sooner than CUDA is loaded
        ("auto", "auto", False, SMALL, None),
        ("auto", "cpu", True, LARGE, None),
        ("auto", "cuda", False, SMALL, "cuda"),
        ("auto", "cuda:1", True, LARGE, "cuda:1"),
        ("auto", "mps", False, LARGE, None),
        ("on", "auto", False, LARGE, "cpu"),
        ("on", "auto", True, LARGE, "cuda"),
        ("on", "cpu", True, LARGE, "cpu"),
        ("on", "mps", False, LARGE, "cpu"),
        ("off", "cuda", True, LARGE, None),
        ("off", "auto", True, SMALL, None),
    ],
)
def test_device_of_a_spectrum(
    choice: SpectrumChoice, requested: str, has_gpu: bool, shape: tuple[int, int], device: str | None
) -> None:
    spec = TensorSpec("lm_head.weight", "f", "BF16", shape, ByteRange(0, 2 * shape[0] * shape[1]))
    chosen = device_of_spectrum(choice, requested, spec, has_gpu=has_gpu)
    assert (chosen and chosen.name) == device
