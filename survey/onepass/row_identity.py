"""Which rows are identical, bit for bit, found while they stream past.

A row is known by the xxh3-128 of its bytes. When a hash comes a second time, that row's bytes are
kept, once for each black hole; so nothing is read twice and the matrix is never held.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator

import numpy as np
import xxhash
from numpy.typing import NDArray

from survey.onepass.layout import SPOOL_BYTES
from survey.records.blocks import Block

SHORT_BYTES = 240  # xxh3 has other formulas for rows up to here
WORD_BYTES = 8
MOST_ROWS = 2**31 - 1  # their numbers are kept in 32 bits

Digests = NDArray[np.uint64]  # [R, 2]: high and low half


class RowIdentity:
    """Folds `rows` rows of `row_bytes` each; `holes` are in order of their first repetition."""

    def __init__(self, rows: int, row_bytes: int) -> None:
        if rows >= MOST_ROWS:
            raise ValueError(f"{rows:,} rows, expected fewer than {MOST_ROWS:,}")
        self._row_bytes = row_bytes
        self._digests = np.empty((rows, 2), dtype=np.uint64)
        self._rows = self._repeats = 0
        bits = max(1, (2 * rows - 1).bit_length())  # at most half full
        self._slots = np.zeros(1 << bits, dtype=np.int32)
        self._shift = np.uint64(64 - bits)
        self._secrets = np.frombuffer(secrets.token_bytes(32), dtype=np.uint64)
        self._members: dict[int, list[int]] = {}  # first row -> all rows, ascending
        self._vectors = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - close() closes it

    def close(self) -> None:
        self._vectors.close()

    def add(self, slab: Block, digests: Digests) -> None:
        """The next rows, and the digest of each."""
        from survey.onepass.kernels.first_seen import (
            find_first,  # here, so that planning never loads a compiler
        )

        view, start = memoryview(slab), self._rows
        self._rows += len(digests)
        assert self._rows <= len(self._digests), "a stream delivers no more rows than announced"
        self._digests[start : self._rows] = digests
        first = np.empty(len(digests), dtype=np.int32)
        find_first(self._digests, start, self._rows, self._secrets, self._shift, self._slots, first)
        again = np.flatnonzero(first != np.arange(start, self._rows))
        self._repeats += len(again)
        for at in again.tolist():
            self._repeat(int(first[at]), start + at, view[at * self._row_bytes : (at + 1) * self._row_bytes])

    def _repeat(self, first: int, row: int, stored: memoryview) -> None:
        if first in self._members:
            self._members[first].append(row)
            return
        self._members[first] = [first, row]
        self._vectors.write(stored)

    @property
    def unique_rows(self) -> int:
        return self._rows - self._repeats

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
        return self._digests[: self._rows, 1].copy()


def row_digests(slab: Block, row_bytes: int) -> Digests:
    """xxh3-128 of each row's bytes, [R, 2]."""
    view = memoryview(slab)
    if row_bytes > SHORT_BYTES and row_bytes % WORD_BYTES == 0:
        words = np.frombuffer(view, dtype="<u8").reshape(-1, row_bytes // WORD_BYTES)
        if words.flags.aligned:
            from survey.onepass.kernels.xxh3 import hash_rows  # here, so that planning never loads a compiler

            found = np.empty((len(words), 2), dtype=np.uint64)
            words.flags.writeable = False  # one type, and not two, to compile for
            hash_rows(words, found)
            return found
    digest = xxhash.xxh3_128_digest
    digests = b"".join([digest(view[at : at + row_bytes]) for at in range(0, len(view), row_bytes)])
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)
