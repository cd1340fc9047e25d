"""The memory that a study of a covariance takes, compared with what is free before anything is allocated."""

from __future__ import annotations

from survey.errors import NotRunnable
from survey.process.machine import free_memory_bytes

# Matrices [D, D] of float64 at once, at the peak; measured at D = 3,500 on a CPU: 5.3 and 2.3.
SPECTRUM_SQUARES = 6
CLUSTER_SQUARES = 3
_SQUARES_BESIDE_A_GPU = 3  # of them on the host
_SLABS = 4  # of rows, [2048, D], decoded and to be added up
_SLAB_ROWS = 2048


def refuse_too_wide(dims: int, device: str, squares: int) -> None:
    """Raises NotRunnable (`infeasible`) if so many matrices [D, D] do not fit in the memory that is free."""
    squares = squares if device == "cpu" else _SQUARES_BESIDE_A_GPU
    needed_bytes = 8 * dims * (squares * dims + _SLABS * _SLAB_ROWS)
    free_bytes = free_memory_bytes()
    if needed_bytes > free_bytes:
        raise NotRunnable(
            "infeasible",
            f"rows of {dims:,} dimensions",
            f"their covariance needs {needed_bytes / 1e9:,.1f} GB of memory, of which "
            f"{free_bytes / 1e9:,.1f} GB are free",
            "use a machine with more memory, end other programs, or raise the limit of this process",
        )
