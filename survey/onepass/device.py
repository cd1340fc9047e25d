"""The device and the CPUs that a pass uses.

`auto` is the GPU only if it is faster, its start included: torch, CUDA and the kernels take 5 s before the
first row, and the CPUs measure meanwhile. What the Hub sends comes slower than CPUs measure it.
Figures: docs/explanation.md.
"""

from __future__ import annotations

import importlib.util
import os.path
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from survey.errors import NotRunnable, SurveyError
from survey.onepass.geometry import BATCH_BYTES
from survey.process.machine import cpus
from survey.records.blocks import Block

if TYPE_CHECKING:
    import torch

STAGING_THREADS = 8  # copy what a GPU fetches; more do not make the pass faster
GPU_PAYS_BYTES = 16_000_000_000  # for each CPU that measures otherwise
LEAST_BYTES = 256 << 20  # a smaller matrix is measured before its pass on a GPU has begun
# Multiply-adds of float64 for each CPU that take as long as a GPU's start, some 5 s.
# Of 1e12 an H100 takes 36 ms, 16 CPUs 1.6 s, two 12.
PRODUCTS_PAY = 200_000_000_000
REQUESTED = "requested"
_FAILED_ON_GPU = threading.Event()  # the last pass of this process on a GPU
GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True, slots=True)
class Device:
    """A device's name, and why it was chosen."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """The rows of a tensor [V, D] that lies on a GPU; to iterate over them copies them to the host."""

    tensor: torch.Tensor

    @property
    def device(self) -> str:
        return str(self.tensor.device)

    def __iter__(self) -> Iterator[Block]:
        import torch

        rows, row_bytes = len(self.tensor), self.tensor.shape[1] * self.tensor.itemsize
        step = max(1, BATCH_BYTES // row_bytes)
        for start in range(0, rows, step):
            part = self.tensor[start : start + step].cpu().contiguous()
            yield part.view(torch.uint8).numpy().data.cast("B")


def staging_threads() -> int:
    """Number of threads that copy a matrix to memory from which a GPU fetches it."""
    return min(cpus(), STAGING_THREADS)


def choose_device(requested: str, matrix_bytes: int = 0, local_bytes: int = 0) -> Device:
    """The device to measure on, and why.

    matrix_bytes: of the matrix to be measured next. local_bytes: of all matrices in folders of this machine
    that this process is to measure. Raises NotRunnable (`infeasible`) if this machine lacks the requested
    device.
    """
    if requested == "auto":
        if _is_warm() and matrix_bytes >= LEAST_BYTES:
            return Device("cuda", "the GPU is in use already")
        chosen = auto_device(_has_driver(), local_bytes, cpus())
        return (_cpu_if_it_lacks_cuda() if chosen.name == "cuda" else None) or chosen
    if requested != "cpu" and (lack := _lack_of(requested.partition(":")[0])):
        raise NotRunnable("infeasible", f"device {requested}", lack, "choose another --device")
    return Device(requested, REQUESTED)


def auto_device(has_gpu: bool, local_bytes: int, threads: int) -> Device:
    """The faster device for matrices of `local_bytes` in folders, beside as many threads on the CPU."""
    if not has_gpu:
        return Device("cpu", "no CUDA GPU")
    least = threads * GPU_PAYS_BYTES
    if local_bytes < least:
        return Device("cpu", f"a GPU pays from {least / 1e9:.0f} GB in folders")
    return Device("cuda", f"{local_bytes / 1e9:.0f} GB in folders")


def device_of_rows(rows: DeviceRows, requested: str) -> Device:
    """The device to measure a tensor on that lies on a GPU."""
    if requested != "auto":
        return choose_device(requested)
    return _cpu_if_it_lacks_cuda() or Device(rows.device, "the matrix lies there")


def device_of_products(requested: str, vocab_rows: int, dims: int) -> Device:
    """The device that adds up products D × D of V rows in float64, and solves for their eigenvalues.

    Raises NotRunnable (`infeasible`) if this machine lacks the requested one.
    """
    if requested != "auto":
        return device_of_pass(choose_device(requested), is_decoded=False)
    multiply_adds, least = vocab_rows * dims * dims, cpus() * PRODUCTS_PAY
    if multiply_adds < least:
        return Device("cpu", f"a GPU pays from {least:.0e} multiply-adds on")
    return (
        Device("cuda", f"{multiply_adds:.0e} multiply-adds") if has_cuda() else Device("cpu", "no CUDA GPU")
    )


def device_of_pass(chosen: Device, *, is_decoded: bool) -> Device:
    """What does the arithmetic if this device was chosen. is_decoded: whether values are decoded first."""
    kind = chosen.name.partition(":")[0]
    if kind == "mps":
        return Device("cpu", "mps has no float64")
    if kind == "cuda" and is_decoded:
        return Device("cpu", "a matrix with a scale, or quantised, is measured on the CPU")
    return chosen


@contextmanager
def noted_on_gpu() -> Iterator[None]:
    """A pass on a GPU: after one that failed there, `auto` does not count the GPU as in use."""
    try:
        yield
    except SurveyError:  # of the matrix or its source
        raise
    except BaseException:
        _FAILED_ON_GPU.set()
        raise
    _FAILED_ON_GPU.clear()


def _is_warm() -> bool:
    """Whether this process has measured on a GPU, the last time without a failure."""
    is_loaded = "survey.onepass.cuda.batches" in sys.modules
    return is_loaded and not _FAILED_ON_GPU.is_set() and not _lack_of("cuda")


def _has_driver() -> bool:
    # Its file, as torch takes seconds to load, and most machines have no GPU.
    return any(map(os.path.exists, GPU_DRIVERS))


def has_cuda() -> bool:
    """Whether torch can use a CUDA GPU; it is not loaded if this machine has no driver for one."""
    if not _has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def _cpu_if_it_lacks_cuda() -> Device | None:
    lack = _lack_of("cuda")
    return None if lack is None else Device("cpu", f"cuda {lack}")


def _lack_of(kind: str) -> str | None:
    """What this machine lacks of a kind of device; None if it has all."""
    import torch  # here, so that a measurement on the CPU never loads it

    is_there = torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()
    if kind not in ("cuda", "mps") or not is_there:
        return "is not available on this machine"
    if kind == "cuda" and importlib.util.find_spec("triton") is None:
        return "needs Triton, which torch for CUDA brings: pip install triton"
    return None
