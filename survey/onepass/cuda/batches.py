"""The pass over a matrix on a GPU: whole chunks of rows, some tens of megabytes at a launch.

Bytes that come from the host are copied by several threads to pinned memory, which the GPU fetches at the
full speed of its link (pageable memory takes nine times as long), while it computes the batch before, and a
thread of its own takes the results of the one before that. A tensor that lies on the GPU is computed where it
is. torch keeps both kinds of memory for the next matrix.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from survey.numerics.row_decoder import RowDecoder
from survey.onepass.cuda.batch_sums import BatchSums
from survey.onepass.cuda.names import GpuNames
from survey.onepass.cuda.results import ALIGNED_BYTES, Results
from survey.onepass.geometry import BATCHES, CHUNK_ROWS, COPY_BYTES, batch_rows
from survey.onepass.row_identity import Digests, StoredRows, row_digests, rows_of_slab
from survey.onepass.row_values import RowValues
from survey.onepass.sums import ChunkSums
from survey.records.blocks import Block

# Called with each batch in order, by one thread; what it is given is valid until it returns.
Take = Callable[[Digests, StoredRows, ChunkSums], None]


class _Streams(NamedTuple):
    """Of the GPU: what copies batches to it, and what computes them."""

    copying: torch.cuda.Stream
    computing: torch.cuda.Stream


@dataclass
class _Batch:
    """One batch in flight; its buffers are used again and again.

    staged: pinned bytes of the host; None if rows lie on the GPU already. stored: bytes on the GPU. copies:
    to `staged`. taken: its results.
    """

    results: Results
    staged: torch.Tensor | None
    stored: torch.Tensor
    done: torch.cuda.Event | None
    count: int = 0  # bytes
    copies: list[Future[None]] = field(default_factory=list)
    taken: Future[None] | None = None


class GpuPass:
    """One pass over the rows of a matrix [V, D]; device: "cuda", "cuda:1" (or "cpu", in tests)."""

    def __init__(self, decoder: RowDecoder, vocab_rows: int, device: str, take: Take) -> None:
        self._row_bytes, self._device, self._take = decoder.row_bytes, torch.device(device), take
        self._rows = batch_rows(vocab_rows, decoder.row_bytes)
        self._is_cuda = self._device.type == "cuda"
        self._sums = BatchSums(decoder.summed_as, decoder.dims, self._rows // CHUNK_ROWS, self._device)
        self._streams: _Streams | None = None  # there are none in tests
        if self._is_cuda:
            copying, computing = torch.cuda.Stream(self._device), torch.cuda.current_stream(self._device)
            self._streams = _Streams(copying, computing)
        self._names = GpuNames(decoder.summed_as, decoder.dims)
        self._free: deque[_Batch] = deque()
        self._running: deque[_Batch] = deque()

    def of_blocks(self, blocks: Iterable[Block], threads: int) -> None:
        """Fold the rows of a stream of blocks, which `threads` threads copy."""
        batch_bytes = self._rows * self._row_bytes
        filled: deque[_Batch] = deque()
        with self._taking(on_host=True) as taker, ThreadPoolExecutor(threads) as pool:
            filling = self._free.popleft()
            for part in _parts(blocks, batch_bytes):
                self._stage(filling, part, pool)
                if filling.count == batch_bytes:
                    filled.append(filling)
                    if len(filled) > 1:  # one is filled while the one before is copied
                        self._start(filled.popleft(), taker)
                    filling = self._next_free()
            for batch in (*filled, filling) if filling.count else filled:
                self._start(batch, taker)
            self._finish()

    def of_tensor(self, rows: torch.Tensor) -> None:
        """Fold the rows of a tensor that lies on the GPU."""
        stored = rows.contiguous().view(torch.uint8).view(-1)
        if stored.data_ptr() % ALIGNED_BYTES:
            stored = stored.clone()
        step = self._rows * self._row_bytes
        with self._taking(on_host=False) as taker:
            for start in range(0, len(stored), step):
                batch = self._next_free()
                batch.stored = stored[start : start + step]
                batch.count = len(batch.stored)
                self._launch(batch, taker)
            self._finish()

    @contextmanager
    def _taking(self, on_host: bool) -> Iterator[ThreadPoolExecutor]:
        """Buffers for batches in flight, and the thread that takes their results."""
        self._free.extend(self._new_batch(on_host) for _ in range(BATCHES))
        if self._streams is not None:  # memory that torch gives again may still be in use
            self._streams.copying.wait_stream(self._streams.computing)
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="results") as taker:
                yield taker
        finally:
            if self._streams is not None:
                self._streams.copying.synchronize()  # memory that is given back may not be written to

    def _new_batch(self, on_host: bool) -> _Batch:
        count = self._rows * self._row_bytes
        staged = torch.empty(count, dtype=torch.uint8, pin_memory=self._is_cuda) if on_host else None
        stored = torch.empty(count if on_host else 0, dtype=torch.uint8, device=self._device)
        done = torch.cuda.Event() if self._is_cuda else None
        return _Batch(self._sums.new_results(), staged, stored, done)

    def _stage(self, batch: _Batch, part: NDArray[np.uint8], pool: ThreadPoolExecutor) -> None:
        """Begin to copy the next bytes to a batch's pinned memory."""
        assert batch.staged is not None
        target = batch.staged.numpy()[batch.count : batch.count + len(part)]
        batch.copies.append(pool.submit(np.copyto, target, part))
        batch.count += len(part)

    def _start(self, batch: _Batch, taker: ThreadPoolExecutor) -> None:
        """Copy a batch to the GPU as soon as it is staged, and compute it there."""
        for copy in batch.copies:
            copy.result()
        batch.copies.clear()
        assert batch.staged is not None
        with torch.cuda.stream(self._streams and self._streams.copying):
            batch.stored[: batch.count].copy_(batch.staged[: batch.count], non_blocking=True)
        if self._streams is not None:
            self._streams.computing.wait_stream(self._streams.copying)
        self._launch(batch, taker)

    def _launch(self, batch: _Batch, taker: ThreadPoolExecutor) -> None:
        self._sums.launch(batch.stored[: batch.count], batch.count // self._row_bytes, batch.results)
        if batch.done is not None and self._streams is not None:
            batch.done.record(self._streams.computing)
        batch.taken = taker.submit(self._take_results, batch)
        self._running.append(batch)

    def _next_free(self) -> _Batch:
        """Buffers for the next batch: those of the oldest, if all are in use."""
        if self._free:
            return self._free.popleft()
        batch = self._running.popleft()
        assert batch.taken is not None
        batch.taken.result()
        batch.count = 0
        return batch

    def _finish(self) -> None:
        """Wait for all batches. Raises what taking their results raised."""
        for batch in self._running:
            assert batch.taken is not None
            batch.taken.result()

    def _take_results(self, batch: _Batch) -> None:
        """Wait for a batch's results and hand them over."""
        if batch.done is not None:
            batch.done.synchronize()
        stored = batch.stored[: batch.count]
        values = RowValues.empty(batch.count // self._row_bytes)
        if batch.staged is None:
            fetched = self._fetched(stored)
            held_by = self._names.of_tensor(stored, fetched, values)
            digests, sums = self._sums.read(stored, values, held_by, batch.results)
            assert digests is not None, "rows that are hashed on the CPU come from there"
            self._take(digests, fetched, sums)
            return
        staged = batch.staged.numpy()[: batch.count].data
        held_by = self._names.of_bytes(staged, values)
        digests, sums = self._sums.read(stored, values, held_by, batch.results)
        if digests is None:
            digests = row_digests(staged, self._row_bytes)
        self._take(digests, rows_of_slab(staged, self._row_bytes), sums)

    def _fetched(self, stored: torch.Tensor) -> StoredRows:
        """Copies rows of a tensor on the GPU to the host, all at once."""

        def fetched(rows: Sequence[int]) -> Iterable[Block]:
            with torch.cuda.stream(self._streams and self._streams.computing):
                chosen = torch.tensor(rows, device=self._device)
                return [stored.view(-1, self._row_bytes)[chosen].cpu().numpy().data.cast("B")]

        return fetched


def _parts(blocks: Iterable[Block], batch_bytes: int) -> Iterator[NDArray[np.uint8]]:
    """The same bytes in parts for one thread each; none lies across two batches."""
    left = batch_bytes
    for block in blocks:
        rest = np.frombuffer(block, dtype=np.uint8)
        while len(rest):
            part = rest[: min(left, COPY_BYTES)]
            rest = rest[len(part) :]
            left = left - len(part) or batch_bytes
            yield part
