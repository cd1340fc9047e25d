"""One pass over a matrix in constant memory: blocks in, `PassResult` out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from survey.numerics.block_formats import BlockFormat
from survey.numerics.dtypes import FloatFormat
from survey.numerics.row_decoder import RowDecoder
from survey.numerics.row_formats import RowFormat
from survey.numerics.scale import Scale
from survey.onepass.device import Device, DeviceRows, device_of_pass, noted_on_gpu, staging_threads
from survey.onepass.geometry import slab_rows
from survey.onepass.mantissas import MantissaCounts
from survey.onepass.result import PassResult
from survey.onepass.row_identity import (
    Digests,
    RowIdentity,
    StoredRows,
    is_hashed_by_loops,
    is_hashed_in_words,
    row_digests,
    rows_of_slab,
)
from survey.onepass.slabs import slabs
from survey.onepass.sums import ChunkSums, RowSums, SlabSums, Totals
from survey.onepass.sums_cpu import CompiledSums
from survey.process.machine import cpus
from survey.records.blocks import Block


@contextmanager
def fold(
    blocks: Iterable[Block],
    row_format: RowFormat,
    shape: tuple[int, int],
    device: str,
    scale: Scale | None = None,
    threads: int | None = None,
) -> Iterator[PassResult]:
    """Sum, hash and project the rows of a [V, D] matrix in one pass over its stored bytes.

    blocks      stored bytes in row order; block boundaries do not change a bit of the result
    shape       (V, D)
    device      "cpu", "cuda", "cuda:0" or "mps"; `device_of_pass` says which does the work
    scale       multiplies the stored values; identity and exponents see them as stored
    threads     CPU threads; None: one for each usable CPU

    Yields a PassResult that is valid inside the `with` block (it holds a temporary file).
    Raises AssertionError if the stream delivers more or fewer rows than V.
    """
    rows, dims = shape
    decoder = RowDecoder(row_format, dims, scale)
    on_gpu = device_of_pass(Device(device, ""), is_decoded=decoder.is_decoded).name != "cpu"
    # Decoded values take 4 or 8 bytes each.
    summed_bytes = dims * decoder.summed_as.item_bytes
    rows_per_slab = slab_rows(summed_bytes if decoder.is_decoded else decoder.row_bytes)
    totals = Totals(shape, rows_per_slab, row_format.exponent_values)
    identity = RowIdentity(rows, decoder.row_bytes)
    try:
        if on_gpu:
            with noted_on_gpu():
                _on_gpu(blocks, decoder, device, threads, identity, totals)
        else:
            all_slabs = slabs(blocks, rows_per_slab * decoder.row_bytes)
            _on_cpu(all_slabs, decoder, rows_per_slab, threads or cpus(), identity, totals)
        yield _result(decoder, rows, totals, identity)
    finally:
        identity.close()


def _result(decoder: RowDecoder, vocab_rows: int, totals: Totals, identity: RowIdentity) -> PassResult:
    return PassResult(
        decoder=decoder,
        vocab_rows=vocab_rows,
        totals=totals.columns(),
        squares=totals.squares(),
        units=totals.units(),
        norms=totals.rows.norms,
        finite=totals.rows.finite,
        mantissas=totals.mantissas,
        exponents=totals.exponents(),
        directions=totals.rows.directions,
        fine_directions=totals.rows.fine_directions,
        identity=identity,
        values=totals.rows.values,
        held_by=totals.held_by,
    )


# A slab, its rows' digests, its sums, and mantissas if they are counted.
FoldedSlab = tuple[Block, Digests, SlabSums, NDArray[np.int64] | None]


def _on_cpu(
    all_slabs: Iterable[Block],
    decoder: RowDecoder,
    rows_per_slab: int,
    threads: int,
    identity: RowIdentity,
    totals: Totals,
) -> None:
    """Hash and sum the slabs in `threads` threads, which take the results in the slabs' order."""
    mantissas = _mantissa_counts(decoder, totals.vocab_rows)
    folded = _folding(decoder, rows_per_slab, totals.rows, mantissas)

    def take(result: FoldedSlab) -> None:
        slab, digests, sums, counts = result
        if counts is not None:
            totals.add_mantissas(counts)
        identity.add(digests, rows_of_slab(slab, decoder.row_bytes))
        totals.add(sums, len(digests))

    if threads == 1:
        for first_row, slab in decoder.numbered(all_slabs):
            take(folded(slab, first_row))
        return
    in_order = _InOrder(take)

    def fold_and_take(index: int, slab: Block, first_row: int) -> None:
        in_order.put(index, folded(slab, first_row))

    # Hashing and summing long rows release the GIL. One slab more than threads is in flight, so that none
    # idles; the first ones load the compiler (0.5 s) while the next are fetched.
    with ThreadPoolExecutor(threads, thread_name_prefix="sums") as pool:
        in_flight: deque[Future[None]] = deque()
        for index, (first_row, slab) in enumerate(decoder.numbered(all_slabs)):
            in_flight.append(pool.submit(fold_and_take, index, slab, first_row))
            if len(in_flight) > threads:
                in_flight.popleft().result()
        for future in in_flight:
            future.result()


class _InOrder:
    """Takes results in order, each as soon as all before it are there, in the thread that brings the last."""

    def __init__(self, take: Callable[[FoldedSlab], None]) -> None:
        self._take, self._waiting, self._next = take, dict[int, FoldedSlab](), 0
        self._lock = threading.Lock()

    def put(self, index: int, result: FoldedSlab) -> None:
        with self._lock:
            self._waiting[index] = result
            while self._next in self._waiting:
                self._take(self._waiting.pop(self._next))
                self._next += 1


def _mantissa_counts(decoder: RowDecoder, rows: int) -> MantissaCounts | None:
    row_format = decoder.row_format
    return MantissaCounts(row_format, (rows, decoder.dims)) if isinstance(row_format, FloatFormat) else None


def _folding(
    decoder: RowDecoder, rows_per_slab: int, rows: RowSums, mantissas: MantissaCounts | None
) -> Callable[[Block, int], FoldedSlab]:
    """A function from a slab and the number of its first row; what rows have of their own goes to `rows`."""
    sums = CompiledSums(decoder.summed_as, decoder.dims, rows_per_slab, exponents=not decoder.is_decoded)
    row_format, row_bytes = decoder.row_format, decoder.row_bytes
    quantised = None
    if isinstance(row_format, BlockFormat) and row_format.loop is not None and decoder.scale is None:
        quantised = row_format

    def folded(slab: Block, first_row: int) -> FoldedSlab:
        count = len(slab) // row_bytes
        counts = mantissas.of(slab, first_row) if mantissas else None
        here = rows.part(first_row, first_row + count)
        if decoder.is_decoded and quantised is None:
            return slab, row_digests(slab, row_bytes), decoded_sums(slab, first_row, here), counts
        digests = np.empty((count, 2), dtype=np.uint64) if is_hashed_by_loops(row_bytes) else None
        added = (
            sums.of_quantised(slab, quantised, here, digests) if quantised else sums.of(slab, here, digests)
        )
        return slab, row_digests(slab, row_bytes) if digests is None else digests, added, counts

    def decoded_sums(slab: Block, first_row: int, here: RowSums) -> SlabSums:
        added = sums.of(decoder.values(slab, first_row).data.cast("B"), here)
        if not row_format.exponent_values:
            return added
        fields = decoder.exponents(slab).ravel()
        return replace(added, exponents=np.bincount(fields, minlength=row_format.exponent_values))

    return folded


def _on_gpu(
    blocks: Iterable[Block],
    decoder: RowDecoder,
    device: str,
    threads: int | None,
    identity: RowIdentity,
    totals: Totals,
) -> None:
    """Hash and sum the rows on a GPU, many chunks at a launch."""
    # Here: torch takes seconds to load, and the CPU needs none.
    from survey.onepass.cuda.batches import GpuPass

    mantissas = _mantissa_counts(decoder, totals.vocab_rows)

    def take(digests: Digests, stored_rows: StoredRows, sums: ChunkSums) -> None:
        if mantissas is not None:
            chosen = mantissas.rows_from(totals.added_rows, len(digests))
            totals.add_mantissas(mantissas.of_chosen(bytearray().join(stored_rows(chosen))))
        identity.add(digests, stored_rows)
        totals.add_chunks(sums)

    if isinstance(blocks, DeviceRows) and is_hashed_in_words(decoder.row_bytes):
        GpuPass(decoder, totals.vocab_rows, blocks.device, take).of_tensor(blocks.tensor)
    else:
        gpu = GpuPass(decoder, totals.vocab_rows, device, take)
        gpu.of_blocks(blocks, threads or staging_threads())
