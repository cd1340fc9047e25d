"""Loops over rows, compiled: what numpy would do in several sweeps through memory, done in one.

What adds floats does so in an order that is written down (survey/onepass/sums.py), without `fastmath`: the
compiler may then use vectors as wide as the processor's, but may neither reorder a sum nor fuse its
products. They run without Python's global lock. What is compiled is kept beside the loop's file, or where
that cannot be written to in the user's cache folder (numba's `NUMBA_CACHE_DIR` names another). It is
compiled anew when that file changes and not when another does: a loop and all that it calls share one, and
who changes a constant that it imports, or this file, removes `survey/onepass/kernels/__pycache__`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

from numba import njit

Arguments = ParamSpec("Arguments")


def compiled(loop: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The loop, compiled when it is first called, once for each type of its arguments."""
    try:
        return njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # no folder that may be written to
        return njit(nogil=True)(loop)
