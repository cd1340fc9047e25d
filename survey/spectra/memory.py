"""The memory that a study of a covariance takes, compared with what is free before anything is allocated."""

from __future__ import annotations

from survey.errors import NotRunnable
from survey.onepass.geometry import PRODUCT_ROWS
from survey.process.machine import free_memory_bytes

# Matrices [D, D] of float64 at once, at the peak; measured at D = 3,500 on a CPU: 5.3 and 2.3.
SPECTRUM_SQUARES = 6
CLUSTER_SQUARES = 3
_SQUARES_BESIDE_A_GPU = 3  # of them on the host
_SLABS = 5  # of PRODUCT_ROWS rows, decoded and to be added up


def study_bytes(dims: int, squares: int) -> int:
    """Upper estimate of the bytes that a study of rows of so many dimensions takes."""
    return 8 * dims * (squares * dims + _SLABS * PRODUCT_ROWS)


def refuse_too_wide(dims: int, device: str, squares: int) -> None:
    """Raises NotRunnable (`infeasible`) if so many matrices [D, D] do not fit in the memory that is free."""
    needed_bytes = study_bytes(dims, squares if device == "cpu" else _SQUARES_BESIDE_A_GPU)
    free_bytes = free_memory_bytes()
    if needed_bytes > free_bytes:
        raise NotRunnable(
            "infeasible",
            f"rows of {dims:,} dimensions",
            f"their covariance needs {needed_bytes / 1e9:,.1f} GB of memory, of which "
            f"{free_bytes / 1e9:,.1f} GB are free",
            "use a machine with more memory, end other programs, or raise the limit of this process",
        )
