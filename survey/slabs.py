"""Cut a stream of bytes into slabs of rows: the unit of arithmetic.

Chunks of exactly 1,024 rows, aligned to the absolute row number, decide the order of summation;
slabs divide a chunk so that the widened values of one slab stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from survey.stream import Block

CHUNK_ROWS = 1024
LANE_ROWS = 32  # rows that are summed side by side; a slab holds whole groups of them
SLAB_BYTES = 6 << 20  # of float64: half and double are slower, 1.0 and 1.2 GB/s against 1.5


def slab_rows(dims: int) -> int:
    """Rows of one slab at D = `dims`: a power of two from LANE_ROWS to CHUNK_ROWS."""
    rows = LANE_ROWS
    while rows < CHUNK_ROWS and rows * 2 * dims * 8 <= SLAB_BYTES:
        rows *= 2
    return rows


def slabs(blocks: Iterable[Block], slab_bytes: int) -> Iterator[Block]:
    """The same bytes in pieces of `slab_bytes`; the last one may be shorter."""
    carried = bytearray()
    for block in blocks:
        rest = memoryview(block)
        if carried:
            missing = slab_bytes - len(carried)
            carried += rest[:missing]
            rest = rest[missing:]
            if len(carried) < slab_bytes:
                continue
            yield carried
            carried = bytearray()
        while len(rest) >= slab_bytes:
            yield rest[:slab_bytes]
            rest = rest[slab_bytes:]
        carried += rest
    if carried:
        yield carried
