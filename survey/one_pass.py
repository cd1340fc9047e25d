"""One pass over a matrix in constant memory: blocks in, `Folded` out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from survey.dtypes import FLOATS, FloatFormat
from survey.errors import NotRunnable
from survey.floats import biased_exponents, widen
from survey.folded import Folded
from survey.row_identity import RowIdentity
from survey.scale import Scale
from survey.slabs import CHUNK_ROWS, slab_rows, slabs
from survey.stream import Block
from survey.sums import Sums


@dataclass
class Clock:
    """Seconds spent waiting for bytes; the rest of a pass is arithmetic and hashing."""

    waited_s: float = field(default=0.0)

    def over(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks, timed from the outside."""
        source = iter(blocks)
        while True:
            start = time.perf_counter()
            block = next(source, None)
            self.waited_s += time.perf_counter() - start
            if block is None:
                return
            yield block


@contextmanager
def fold(
    blocks: Iterable[Block],
    form: FloatFormat,
    shape: tuple[int, int],
    device: str,
    scale: Scale | None = None,
) -> Iterator[Folded]:
    """Fold the rows of a [V, D] matrix of stored bytes, given in order.

    device: `cpu`, `cuda`, `cuda:0`, `mps`. The result holds a temporary file until the context
    ends. Blocks may have any length; the result has the same bits whatever it is. scale: what the
    stored values are to be multiplied by; rows are identical, and exponents counted, as stored.
    """
    rows, dims = shape
    row_bytes = dims * form.item_bytes
    # On a GPU a launch costs more than the cache saves.
    rows_per_slab = slab_rows(dims) if device == "cpu" else CHUNK_ROWS
    # Scaled values are exact in float64, so they are summed as if they had been stored so.
    summed_as = form if scale is None else FLOATS["F64"]
    sums, identity = Sums(summed_as, shape, rows_per_slab, device), RowIdentity(row_bytes)
    exponents, row = np.zeros(form.exponent_values, dtype=np.int64), 0
    try:
        for slab in slabs(blocks, rows_per_slab * row_bytes):
            if scale is None:
                sums.add(slab)
            else:
                values = widen(slab, form, dims)
                sums.add(scale.times(values, np.arange(row, row + len(values))).data.cast("B"))
                exponents += np.bincount(
                    biased_exponents(slab, form, dims).ravel(), minlength=form.exponent_values
                )
                row += len(values)
            identity.add(slab)
        yield Folded(
            form=form,
            vocab_rows=rows,
            hidden_dim=dims,
            totals=sums.column_totals(),
            norms=sums.norms(),
            finite=sums.finite(),
            exponents=sums.exponent_counts() if scale is None else exponents,
            identity=identity,
            scale=scale,
        )
    finally:
        identity.close()


def choose_device(wanted: str) -> str:
    """The device to measure on: `auto` takes CUDA where there is one, else the CPU.

    Raises NotRunnable where the device asked for is not there.
    """
    import torch  # here, so that planning and querying never load it

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = wanted.partition(":")[0]
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(kind, False):
        raise NotRunnable("infeasible", f"device {wanted}", "is not available on this machine")
    return wanted
