"""What computes the spectra of a run's matrices."""

from __future__ import annotations

from survey.records.settings import SpectraDevice, SpectrumChoice
from survey.records.tensors import TensorSpec

# Multiply-adds that take a CPU a quarter of a second: no task waits for a GPU, or loads CUDA, for fewer.
SMALL_PRODUCTS = 10_000_000_000


def device_of_spectrum(
    choice: SpectrumChoice, requested: str, spec: TensorSpec, *, has_gpu: bool
) -> SpectraDevice | None:
    """The device for the spectrum of a matrix [V, D]; None if it is to have none.

    choice: of --spectrum. requested: of --device. has_gpu: whether one with CUDA can be had.
    """
    vocab_rows, dims = spec.shape
    kind = requested.partition(":")[0]
    if choice == "off":
        return None
    if kind == "cuda":
        return SpectraDevice(requested, "requested")
    if kind == "auto" and has_gpu:
        is_small = vocab_rows * dims * dims < SMALL_PRODUCTS
        return SpectraDevice("cpu", "a small matrix") if is_small else SpectraDevice("cuda", "a GPU")
    return SpectraDevice("cpu", "no CUDA GPU") if choice == "on" else None
