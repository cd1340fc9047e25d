"""Which rows are identical, bit for bit, found while they stream past.

A row is known by the xxh3-128 of its bytes. When a hash comes a second time, that row's bytes are
kept, once for each black hole; so nothing is read twice and the matrix is never held.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from survey.stream import Block

SPOOL_BYTES = 64 << 20  # beyond this the black holes' vectors go to a temporary file
DIGEST_BYTES = 16


class RowIdentity:
    """Folds rows of `row_bytes` each; `holes` are in order of their first repetition."""

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._first: dict[bytes, int] = {}  # digest -> first row
        self._members: dict[int, list[int]] = {}  # first row -> all rows, ascending
        self._vectors = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - close() closes it
        self._digests = bytearray()

    def close(self) -> None:
        self._vectors.close()

    def add(self, slab: Block, digests: Sequence[bytes]) -> None:
        """The next rows, and the digest of each."""
        view, start_row = memoryview(slab), len(self._digests) // DIGEST_BYTES
        self._digests += b"".join(digests)
        for row, found in enumerate(digests, start_row):
            first = self._first.setdefault(found, row)
            if first != row:
                self._repeat(first, row, view, (row - start_row) * self._row_bytes)

    def _repeat(self, first: int, row: int, slab: memoryview, start: int) -> None:
        if first in self._members:
            self._members[first].append(row)
            return
        self._members[first] = [first, row]
        self._vectors.write(slab[start : start + self._row_bytes])

    @property
    def unique_rows(self) -> int:
        return len(self._first)

    @property
    def holes(self) -> list[list[int]]:
        """The rows of each black hole, ascending."""
        return list(self._members.values())

    def vectors(self, rows_at_once: int) -> Iterator[bytes]:
        """The holes' vectors in the order of `holes`, as stored bytes of whole rows."""
        self._vectors.seek(0)
        while found := self._vectors.read(rows_at_once * self._row_bytes):
            yield found

    def row_hashes(self) -> NDArray[np.uint64]:
        """The low half of each row's digest, [V]."""
        halves = np.frombuffer(bytes(self._digests), dtype=">u8").reshape(-1, 2)
        return halves[:, 1].astype(np.uint64)  # the canonical digest has its high half first


def row_digests(slab: Block, row_bytes: int) -> list[bytes]:
    """xxh3-128 of each row's bytes."""
    view, digest = memoryview(slab), xxhash.xxh3_128_digest
    return [digest(view[start : start + row_bytes]) for start in range(0, len(view), row_bytes)]
