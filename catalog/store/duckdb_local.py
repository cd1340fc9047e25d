"""The file system through which DuckDB reads a local catalog."""

from __future__ import annotations

import errno
import os
from datetime import datetime

import xxhash

from catalog.files import MAX_FOOTER_BYTES, File
from catalog.store.duckdb_filesystem import CatalogFileSystem, PositionedFile
from catalog.store.regular_files import descriptor_to_read

WHOLE_FILE_BYTES = 1 << 18  # files up to this size are read whole, as DuckDB reads a row file in five pieces


class LocalFiles(CatalogFileSystem):
    """Files of a folder. Size and time are those of the file as it was opened last.

    DuckDB gets no other footer than the one that was inspected, also in hours of a shell or a server: a file
    with another one counts as gone. Its time or inode would not tell it on every file system.
    """

    def __init__(self) -> None:
        super().__init__()
        self._states: dict[str, os.stat_result] = {}
        self._inspected: dict[str, bytes] = {}  # the digest of each file's footer

    def show_inspected(self, file: File, footer: bytes) -> None:
        """Let a file be read as long as it has this footer."""
        self._inspected[file.inside] = xxhash.xxh3_128_digest(footer)
        self.show([file])

    def opened(self, file: File) -> PositionedFile:
        try:
            return self._opened(file)
        except FileNotFoundError:
            raise
        except OSError as error:
            self.failures.append(f"{file.shown}: {error.strerror}")
            raise

    def size(self, path: str) -> int:
        return self._state(path).st_size

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(self._state(path).st_mtime)

    def _opened(self, file: File) -> PositionedFile:
        descriptor = _Descriptor(descriptor_to_read(file.path))
        state = self._states[file.inside] = os.fstat(descriptor.number)
        if state.st_size > WHOLE_FILE_BYTES:
            end = self._inspected_end(file, os.pread(descriptor.number, 8, state.st_size - 8), descriptor)
            return _large_file(descriptor, state.st_size, end, file, self.failures)
        content = os.read(descriptor.number, state.st_size)
        self._inspected_end(file, content)
        return PositionedFile(len(content), lambda start, stop: content[start:stop])

    def _inspected_end(self, file: File, content: bytes, descriptor: _Descriptor | None = None) -> bytes:
        """The footer of a file, with what follows it.

        content: of the file, or, of a large one, its last bytes. Raises FileNotFoundError if it is another
        footer than the one inspected.
        """
        end_bytes = int.from_bytes(content[-8:-4], "little") + 8
        if descriptor is not None and end_bytes <= MAX_FOOTER_BYTES:
            size = os.fstat(descriptor.number).st_size
            content = os.pread(descriptor.number, end_bytes, max(0, size - end_bytes))
        end = content[-end_bytes:]
        if xxhash.xxh3_128_digest(end[:-8]) != self._inspected[file.inside]:
            raise FileNotFoundError(errno.ENOENT, "written anew since it was inspected", file.shown)
        return end

    def _state(self, path: str) -> os.stat_result:
        file = self._listed(path)
        return self._states.get(file.inside) or os.stat(file.path)


class _Descriptor:
    """A file descriptor that is closed when it is collected: DuckDB releases files without closing them."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


def _large_file(
    descriptor: _Descriptor, size: int, end: bytes, file: File, failures: list[str]
) -> PositionedFile:
    """A file read by offsets, so that threads do not wait for each other. end: its footer, kept in memory."""

    def read_at(start: int, stop: int) -> bytes:
        kept_from = size - len(end)
        if start >= kept_from:
            return end[start - kept_from : stop - kept_from]
        try:
            content = os.pread(descriptor.number, min(stop, kept_from) - start, start)
        except OSError as error:
            failures.append(f"{file.shown}: {error.strerror}")
            raise
        return content + end[: max(0, stop - kept_from)]

    return PositionedFile(size, read_at)
