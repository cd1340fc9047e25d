"""The file system through which DuckDB reads a catalog in an object store."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from catalog.files import MAX_FOOTER_BYTES, End, File, NoEnd, is_tail_whole, too_long
from catalog.store.duckdb_filesystem import CatalogFileSystem, PositionedFile
from catalog.store.fsspec_client import map_concurrently
from catalog.store.object_store_errors import Unreadable

if TYPE_CHECKING:
    from catalog.store.object_store import ObjectStore

REMOTE_TAIL_BYTES = 1 << 17  # holds the footer of a part, 20 kB for each row group
WHOLE_OBJECT_BYTES = 1 << 18  # a row file up to this size is fetched whole: one request instead of three
CACHE_BYTES = 128 << 20  # of small files in memory
READ_AHEAD_BYTES = 1 << 17


class StoreFiles(CatalogFileSystem):
    """Files of an object store. DuckDB opens each several times: sizes and small files come from memory."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__()
        self._store = store
        self._tails: dict[str, tuple[str, bytes]] = {}  # by name: the version and its last bytes
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def read_ends(self, files: Sequence[File]) -> Iterator[End | NoEnd]:
        """Fetch the end of each file with all of its footer. Whole files may be read from then on."""
        for file, tail in zip(files, map_concurrently(self._tail, files), strict=True):
            if isinstance(tail, Unreadable):
                yield NoEnd(f"cannot be read: {tail}", gone=tail.gone)
            elif not is_tail_whole(tail, file.size):
                yield End(None)
            elif (footer_bytes := int.from_bytes(tail[-8:-4], "little")) > MAX_FOOTER_BYTES:
                yield too_long(footer_bytes)
            else:
                self.show([file])
                yield End(tail[len(tail) - 8 - footer_bytes : -8])

    def opened(self, file: File) -> PositionedFile:
        return PositionedFile(file.size, partial(self._between, file), READ_AHEAD_BYTES)

    def opened_for_arrow(self, file: File) -> PositionedFile:
        """Open a file for Arrow, which expects an OSError if bytes cannot be read."""

        def between(start: int, stop: int) -> bytes:
            try:
                return self._between(file, start, stop)
            except Unreadable as error:
                raise OSError(errno.EIO, str(error)) from error

        return PositionedFile(file.size, between, READ_AHEAD_BYTES)

    def modified(self, path: str) -> datetime:
        self._listed(path)
        return datetime(2000, 1, 1)  # constant: a change shows in the listing

    def _between(self, file: File, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file; the bytes at its end come from memory."""
        version, tail = self._tails[file.inside]
        if version != file.version:
            raise FileNotFoundError(f"{file.shown}: written anew since")
        kept_from = file.size - len(tail)
        if start >= kept_from:
            return tail[start - kept_from : stop - kept_from]
        try:
            fetched = self._store.read_range(file, start, min(stop, kept_from))
        except Unreadable as error:
            if error.gone:
                raise FileNotFoundError(f"{file.shown}: gone") from error
            self.failures.append(f"{file.shown}: {error}")
            raise
        return fetched + tail[: max(0, stop - kept_from)]

    def _tail(self, file: File) -> bytes | Unreadable:
        known = self._tails.get(file.inside)
        if known is not None and known[0] == file.version:
            return known[1]
        whole = file.size <= WHOLE_OBJECT_BYTES and self._kept_bytes < CACHE_BYTES
        tail_bytes = file.size if whole else min(file.size, REMOTE_TAIL_BYTES)
        try:
            tail = self._store.read_range(file, file.size - tail_bytes, file.size) if tail_bytes else b""
            footer_bytes = int.from_bytes(tail[-8:-4], "little")
            missing = footer_bytes + 8 - len(tail) if footer_bytes <= MAX_FOOTER_BYTES else 0
            if missing > 0 and is_tail_whole(tail, file.size):  # a part's footer may be longer
                start = file.size - tail_bytes
                tail = self._store.read_range(file, start - missing, start) + tail
        except Unreadable as error:
            return error
        with self._lock:
            self._tails[file.inside] = (file.version, tail)
            self._kept_bytes += len(tail)
        return tail
