"""The device and the CPUs that a pass uses."""

from __future__ import annotations

from survey.errors import NotRunnable
from survey.onepass.geometry import MAX_THREADS
from survey.process.machine import cpus


def usable_cpus() -> int:
    """Number of CPUs that this process may use, at most MAX_THREADS."""
    return min(cpus(), MAX_THREADS)


def choose_device(requested: str) -> str:
    """The device to measure on: `auto` is CUDA if there is a CUDA device, else the CPU.

    Raises NotRunnable (`infeasible`) if this machine lacks the requested device.
    """
    if requested == "cpu":
        return requested
    import torch  # here, so that a measurement on the CPU never loads it

    if requested == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = requested.partition(":")[0]
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(kind, False):
        raise NotRunnable(
            "infeasible", f"device {requested}", "is not available on this machine", "choose another --device"
        )
    return requested
