"""Which rows have equal bytes, decided while they stream past.

A row is known by the xxh3-128 of its bytes. When a hash comes a second time, that row's bytes are
kept, once for each black hole; so nothing is read twice and the matrix never lies in memory.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.onepass import kernels
from survey.onepass.geometry import SPOOL_BYTES
from survey.records.blocks import Block

SHORT_BYTES = 240  # xxh3 has other formulas for rows up to this length
WORD_BYTES = 8
MOST_ROWS = 2**31 - 1  # row numbers are kept in 32 bits

Digests = NDArray[np.uint64]  # [R, 2]: high and low half
StoredRows = Callable[[Sequence[int]], Iterable[Block]]  # the stored bytes of rows by number, in this order


def by_population(rows: Sequence[int]) -> tuple[int, int]:
    """Sort key of a black hole, given its rows: the largest first, ties by smallest row number."""
    return -len(rows), rows[0]


def rows_in(black_hole_rows: Iterable[Sequence[int]], vocab_rows: int) -> NDArray[np.bool_]:
    """Which of V = `vocab_rows` rows are in one of these black holes, [V]."""
    dead = np.zeros(vocab_rows, dtype=bool)
    for rows in black_hole_rows:
        dead[rows] = True
    return dead


class RowIdentity:
    """Groups V = `rows` rows of `row_bytes` each by their bytes. Close it: it holds a temporary file."""

    def __init__(self, rows: int, row_bytes: int) -> None:
        """Raises UsageError if there are more rows than 31 bits can number."""
        if rows >= MOST_ROWS:
            raise UsageError(f"the matrix has {rows:,} rows, expected fewer than {MOST_ROWS:,}")
        self._row_bytes = row_bytes
        self._digests = np.empty((rows, 2), dtype=np.uint64)
        self._rows = self._repeats = 0
        bits = max(1, (2 * rows - 1).bit_length())  # at most half full
        self._slots = np.zeros(1 << bits, dtype=np.int32)
        self._shift = np.uint64(64 - bits)
        self._secrets = np.frombuffer(secrets.token_bytes(32), dtype=np.uint64)
        self._black_holes: dict[int, list[int]] = {}  # first row -> all rows, ascending
        self._vectors = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - close() closes it

    def close(self) -> None:
        self._vectors.close()

    def add(self, digests: Digests, stored_rows: StoredRows) -> None:
        """Add the next R rows: the digest of each, [R, 2], and what reads the stored bytes of some."""
        start = self._rows
        self._rows += len(digests)
        assert self._rows <= len(self._digests), "a stream delivers no more rows than announced"
        self._digests[start : self._rows] = digests
        first = np.empty(len(digests), dtype=np.int32)
        kernels.first_seen.find_first(
            self._digests, start, self._rows, self._secrets, self._shift, self._slots, first
        )
        repeats = np.flatnonzero(first != np.arange(start, self._rows))
        self._repeats += len(repeats)
        firsts = []  # repeats that make a black hole
        for index, first_row in zip(repeats.tolist(), first[repeats].tolist(), strict=True):
            if first_row not in self._black_holes:
                self._black_holes[first_row] = [first_row]
                firsts.append(index)
            self._black_holes[first_row].append(start + index)
        for stored in stored_rows(firsts) if firsts else ():
            self._vectors.write(stored)

    @property
    def unique_rows(self) -> int:
        """Number of different rows, by bytes."""
        return self._rows - self._repeats

    @property
    def black_hole_rows(self) -> list[list[int]]:
        """The rows of each black hole, ascending; the black holes in order of first repetition."""
        return list(self._black_holes.values())

    def vectors(self, rows_at_once: int) -> Iterator[bytes]:
        """The black holes' vectors in the order of `black_hole_rows`, as stored bytes of whole rows."""
        self._vectors.seek(0)
        while stored := self._vectors.read(rows_at_once * self._row_bytes):
            yield stored

    def row_hashes(self) -> NDArray[np.uint64]:
        """The low half of each row's digest, [V]."""
        return self._digests[: self._rows, 1].copy()


def rows_of_slab(slab: Block, row_bytes: int) -> StoredRows:
    """The rows of a slab that lies in memory, by their numbers in it."""
    view = memoryview(slab)
    return lambda rows: (view[row * row_bytes : (row + 1) * row_bytes] for row in rows)


def is_hashed_by_loops(row_bytes: int) -> bool:
    """Whether rows of this length are hashed by loops of ours; the library hashes all others."""
    return row_bytes > SHORT_BYTES


def is_hashed_in_words(row_bytes: int) -> bool:
    """Whether a GPU hashes rows of this length."""
    return is_hashed_by_loops(row_bytes) and row_bytes % WORD_BYTES == 0


def row_digests(slab: Block, row_bytes: int) -> Digests:
    """xxh3-128 of each row's bytes, [R, 2]."""
    view = memoryview(slab)
    if is_hashed_by_loops(row_bytes):
        rows = np.frombuffer(view, dtype=np.uint8).reshape(-1, row_bytes)
        rows.flags.writeable = False  # so that numba compiles one specialisation instead of two
        hashes = np.empty((len(rows), 2), dtype=np.uint64)
        kernels.xxh3.hash_rows(rows, hashes)
        return hashes
    digest = xxhash.xxh3_128_digest
    digests = b"".join([digest(view[at : at + row_bytes]) for at in range(0, len(view), row_bytes)])
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)
