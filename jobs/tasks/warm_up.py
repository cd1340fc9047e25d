"""Load what measuring needs before the first bytes are there: the compiler, its kernels and, on a GPU, CUDA.

It takes half a second with a filled cache of the compiler, and ten without. A process does it once for each
device and dtype, by a pass over a small matrix that is thrown away.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from concurrent.futures import Future

import numpy as np

from survey.measures import measure_result
from survey.numerics.row_formats import row_format_of
from survey.onepass.fold import fold
from survey.records.blocks import new_buffer

MOST_FREQUENT = "BF16"  # dtype of heads
ROWS, DIMS = 1_280, 256


def begin_warm_up(dtype: str = MOST_FREQUENT, device: str = "cpu") -> Future[None]:
    """Load it in a thread, if this process has not begun to before; returns at once."""
    return _begun(dtype, device)


def wait_until_warm(dtype: str, device: str) -> float:
    """Load it, or wait until it is loaded; returns the seconds that took."""
    start = time.monotonic()
    begin_warm_up(dtype, device).result()
    return time.monotonic() - start


@functools.cache
def _begun(dtype: str, device: str) -> Future[None]:
    done: Future[None] = Future()

    def rehearse() -> None:
        with contextlib.suppress(Exception):  # the pass over the model's own matrix meets it again
            _rehearse(dtype, device)
        done.set_result(None)

    threading.Thread(target=rehearse, name="warm up", daemon=True).start()
    return done


def _rehearse(dtype: str, device: str) -> None:
    """A pass that calls every kernel: over random rows, of which some are equal."""
    row_format = row_format_of(dtype, "the rehearsal")
    block = new_buffer(ROWS * row_format.row_bytes(DIMS))
    stored = np.frombuffer(block, np.uint8).reshape(ROWS, -1)
    # No byte is larger: neither infinite nor NaN in any format of floats, whatever the order of its bytes.
    stored[:] = np.random.default_rng(0).integers(0, 64, stored.shape, dtype=np.uint8)
    stored[:8] = stored[8]
    with fold([block], row_format, (ROWS, DIMS), device, None, 1) as result:
        measure_result(result)
