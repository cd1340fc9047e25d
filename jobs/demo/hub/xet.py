"""The local Hub's Xet storage: files as chunks, each stored once, and the chunks of a range of a file.

Chunks are cut by content as in the real storage, but sixteen times smaller (4 kB on average), so that small
files have many. Only files in memory are offered: to cut others, all of them would have to be read.
"""

import hashlib
import re
from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from jobs.demo.hub.access import HubError
from jobs.demo.hub.replies import HubReply, json_reply
from jobs.demo.hub.repos import StoredFile
from jobs.demo.hub.request import Request

LEAST_CHUNK, MEAN_CHUNK, MOST_CHUNK = 512, 4096, 8192
CHUNKS_OF_A_XORB = 512
_WINDOW = 8  # bytes that decide whether a chunk ends after them
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)

Chunk = tuple[str, int, int]  # its container, its number there, its size


class Xet:
    """The chunks of all files that were asked for. with_sizes: whether answers state each chunk's size."""

    def __init__(self) -> None:
        self.offered = self.with_sizes = True
        self.token = hashlib.sha256(b"xet").hexdigest()
        self._files: dict[str, StoredFile] = {}
        self._chunks: dict[str, list[Chunk]] = {}
        self._stored: dict[bytes, Chunk] = {}
        self._lock = Lock()

    def hash_of(self, file: StoredFile) -> str | None:
        """The file's hash in the storage; None if it is not offered there."""
        if not self.offered or not isinstance(file.source, bytes) or file.pointer_bytes is None:
            return None
        file_hash = hashlib.sha256(f"xet {file.sha256}".encode()).hexdigest()
        self._files[file_hash] = file
        return file_hash

    def answer(self, request: Request) -> HubReply:
        """The reconstruction of a file, or of a range of it. Raises HubError."""
        if request.authorization != f"Bearer {self.token}":
            raise HubError(401, "Invalid token")
        file_hash = request.segments[-1]
        if file_hash not in self._files:
            raise HubError(404, "no such file")
        chunks = self._chunks_of(file_hash)
        size = self._files[file_hash].size
        stated = _RANGE.fullmatch(request.range or f"bytes=0-{size - 1}")
        if stated is None or int(stated[1]) >= size:
            raise HubError(416, "no such range")
        asks_sizes = request.query.get("chunk_byte_sizes") == ["true"]
        start, stop = int(stated[1]), min(int(stated[2]) + 1, size)
        return json_reply(_reconstruction(chunks, start, stop, with_sizes=asks_sizes and self.with_sizes))

    def _chunks_of(self, file_hash: str) -> list[Chunk]:
        with self._lock:
            if file_hash not in self._chunks:
                content = self._files[file_hash].source
                assert isinstance(content, bytes)
                self._chunks[file_hash] = self._store(_cut(content))
            return self._chunks[file_hash]

    def _store(self, chunks: Sequence[bytes]) -> list[Chunk]:
        """Keep the chunks that are new, in containers named by what they hold."""
        digests = [hashlib.blake2b(chunk, digest_size=32).digest() for chunk in chunks]
        sizes = dict(zip(digests, map(len, chunks), strict=True))
        listed = [(digest, size) for digest, size in sizes.items() if digest not in self._stored]
        for first in range(0, len(listed), CHUNKS_OF_A_XORB):
            batch = listed[first : first + CHUNKS_OF_A_XORB]
            xorb = hashlib.blake2b(b"".join(digest for digest, _ in batch), digest_size=32).hexdigest()
            for number, (digest, size) in enumerate(batch):
                self._stored[digest] = (xorb, number, size)
        return [self._stored[digest] for digest in digests]


def _cut(content: bytes) -> list[bytes]:
    """Content-defined chunks: the same bytes are cut alike wherever they stand, but for a chunk or two."""
    ends = _candidates(content)
    chunks, start = [], 0
    while start < len(content):
        first = int(np.searchsorted(ends, start + LEAST_CHUNK))
        stop = int(ends[first]) if first < len(ends) else len(content)
        stop = min(stop, start + MOST_CHUNK, len(content))
        chunks.append(content[start:stop])
        start = stop
    return chunks


def _candidates(content: bytes) -> NDArray[np.int64]:
    """Where chunks may end, ascending, [N]: after every window of bytes with a rare hash."""
    if len(content) < _WINDOW:
        return np.empty(0, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(content, np.uint8), _WINDOW)
    words = np.ascontiguousarray(windows).view("<u8").ravel()
    rare = (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - MEAN_CHUNK.bit_length() + 1)
    return np.flatnonzero(rare == 1) + _WINDOW


def _reconstruction(chunks: Sequence[Chunk], start: int, stop: int, *, with_sizes: bool) -> dict[str, object]:
    """The terms of bytes [start, stop): runs of chunks that follow each other in a container."""
    terms: list[dict[str, object]] = []
    runs: list[list[Chunk]] = []
    at, skipped = 0, 0
    for chunk in chunks:
        begins, at = at, at + chunk[2]
        if at <= start or begins >= stop:
            continue
        skipped = max(skipped, start - begins)
        if runs and runs[-1][-1][0] == chunk[0] and runs[-1][-1][1] + 1 == chunk[1]:
            runs[-1].append(chunk)
        else:
            runs.append([chunk])
    for run in runs:
        sizes = [size for _, _, size in run]
        term: dict[str, object] = {
            "hash": run[0][0],
            "unpacked_length": sum(sizes),
            "range": {"start": run[0][1], "end": run[-1][1] + 1},
        }
        terms.append(term | ({"chunk_byte_sizes": sizes} if with_sizes else {}))
    return {"offset_into_first_range": skipped, "terms": terms, "fetch_info": {}}
