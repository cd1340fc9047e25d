"""Cut blocks of rows, as requests bring them, into slabs: what one thread works on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from survey.records.blocks import Block


def slabs(blocks: Iterable[Block], slab_bytes: int) -> Iterator[Block]:
    """The same bytes in slabs of `slab_bytes`; the last one may be shorter."""
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
