"""One pass over a matrix in constant memory: blocks in, `PassResult` out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from survey.numerics.decoding import biased_exponents, widen
from survey.numerics.dtypes import FLOATS, FloatFormat
from survey.numerics.scale import Scale
from survey.onepass.layout import CHUNK_ROWS, slab_rows
from survey.onepass.result import PassResult
from survey.onepass.row_identity import Digests, RowIdentity, row_digests
from survey.onepass.slabs import slabs
from survey.onepass.sums import SlabSums, Totals
from survey.records.blocks import Block

if TYPE_CHECKING:
    from survey.onepass.sums_cpu import CompiledSums

from survey.onepass.device import usable_cpus


@contextmanager
def fold(
    blocks: Iterable[Block],
    form: FloatFormat,
    shape: tuple[int, int],
    device: str,
    scale: Scale | None = None,
    threads: int | None = None,
) -> Iterator[PassResult]:
    """Fold the rows of a [V, D] matrix of stored bytes, given in order.

    device: `cpu`, `cuda`, `cuda:0`, `mps`; Apple's GPUs have no float64 and leave it to the CPU.
    scale: what the stored values are to be multiplied by, on the CPU; rows are identical, and
    exponents counted, as stored. threads: of the CPU's arithmetic; None takes one for each CPU that
    this process may use. The result holds a temporary file until the context ends. Blocks may have
    any length; the result has the same bits whatever it is.
    """
    rows, dims = shape
    row_bytes = dims * form.item_bytes
    on_cpu = scale is not None or not device.startswith("cuda")
    # On a GPU a launch costs more than the cache saves. Scaled values are held as float64.
    rows_per_slab = slab_rows(row_bytes if scale is None else dims * 8) if on_cpu else CHUNK_ROWS
    pieces = slabs(blocks, rows_per_slab * row_bytes)
    totals, identity = Totals(shape, rows_per_slab, form.exponent_values), RowIdentity(rows, row_bytes)
    try:
        for slab, digests, sums in (
            _on_cpu(pieces, row_bytes, _summing(form, dims, rows_per_slab, scale), threads or usable_cpus())
            if on_cpu
            else _on_gpu(pieces, form, dims, rows_per_slab, device)
        ):
            identity.add(slab, digests)
            totals.add(sums)
        yield PassResult(
            form=form,
            vocab_rows=rows,
            hidden_dim=dims,
            totals=totals.columns(),
            norms=totals.norms(),
            finite=totals.finite(),
            exponents=totals.exponents(),
            directions=totals.directions(),
            identity=identity,
            scale=scale,
        )
    finally:
        identity.close()


FoldedSlab = tuple[Block, Digests, SlabSums]  # a slab, its rows' digests and its sums


def _summing(
    form: FloatFormat, dims: int, rows_per_slab: int, scale: Scale | None
) -> Callable[[Block, int], SlabSums]:
    """What sums a slab on the CPU, given its number."""

    @cache
    def sums() -> CompiledSums:
        """For the first slab: the next ones come while the compiler is loaded, which takes half a second."""
        from survey.onepass.sums_cpu import CompiledSums

        # Scaled values are exact in float64, so they are summed as if they had been stored so.
        return CompiledSums(form if scale is None else FLOATS["F64"], dims, rows_per_slab)

    if scale is None:
        return lambda slab, number: sums().of(slab)

    def of_scaled(slab: Block, number: int) -> SlabSums:
        values, fields = widen(slab, form, dims), biased_exponents(slab, form, dims)
        scaled = scale.times(values, np.arange(len(values)) + number * rows_per_slab)
        exponents = np.bincount(fields.ravel(), minlength=form.exponent_values)
        return replace(sums().of(scaled.data.cast("B")), exponents=exponents)

    return of_scaled


def _on_cpu(
    pieces: Iterable[Block], row_bytes: int, sums_of: Callable[[Block, int], SlabSums], threads: int
) -> Iterator[FoldedSlab]:
    def piece(slab: Block, number: int) -> FoldedSlab:
        return slab, row_digests(slab, row_bytes), sums_of(slab, number)

    if threads == 1:
        for number, slab in enumerate(pieces):
            yield piece(slab, number)
        return
    # Long rows are hashed and added up without Python's global lock. One slab more than threads: none waits
    # for the next.
    with ThreadPoolExecutor(threads, thread_name_prefix="sums") as pool:
        running: deque[Future[FoldedSlab]] = deque()
        for number, slab in enumerate(pieces):
            running.append(pool.submit(piece, slab, number))
            if len(running) > threads:
                yield running.popleft().result()
        for done in running:
            yield done.result()


def _on_gpu(
    pieces: Iterable[Block], form: FloatFormat, dims: int, rows_per_slab: int, device: str
) -> Iterator[FoldedSlab]:
    from survey.onepass.sums_gpu import TorchSums

    sums = TorchSums(form, dims, rows_per_slab, device)
    begun = None
    for slab in pieces:
        following = slab, sums.begin(slab), row_digests(slab, dims * form.item_bytes)
        if begun is not None:
            yield begun[0], begun[2], sums.finish(begun[1])
        begun = following
    if begun is not None:
        yield begun[0], begun[2], sums.finish(begun[1])
