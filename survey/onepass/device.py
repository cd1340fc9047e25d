"""The device and the CPUs that a pass uses."""

from __future__ import annotations

from survey.errors import NotRunnable
from survey.onepass.layout import MAX_THREADS
from survey.process.machine import cpus


def usable_cpus() -> int:
    """CPUs that this process may use, MAX_THREADS at most."""
    return min(cpus(), MAX_THREADS)


def choose_device(wanted: str) -> str:
    """The device to measure on: `auto` takes CUDA where there is one, else the CPU.

    Raises NotRunnable where the device asked for is not there.
    """
    if wanted == "cpu":
        return wanted
    import torch  # here, so that what runs on CPUs never loads it

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = wanted.partition(":")[0]
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(kind, False):
        raise NotRunnable(
            "infeasible", f"device {wanted}", "is not available on this machine", "choose another --device"
        )
    return wanted
