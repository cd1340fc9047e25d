"""The file system through which DuckDB reads a local catalog."""

from __future__ import annotations

import os
from datetime import datetime

from catalog.files import File
from catalog.store.duckdb_filesystem import CatalogFileSystem, PositionedFile
from catalog.store.regular_files import descriptor_to_read

WHOLE_FILE_BYTES = 1 << 18  # files up to this size are read whole, as DuckDB reads a row file in five pieces


class LocalFiles(CatalogFileSystem):
    """Files of a folder. Size and time are those of the file as it was opened last."""

    def __init__(self) -> None:
        super().__init__()
        self._states: dict[str, os.stat_result] = {}

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
            return _large_file(descriptor, state.st_size, file, self.failures)
        content = os.read(descriptor.number, state.st_size)
        return PositionedFile(state.st_size, lambda start, stop: content[start:stop])

    def _state(self, path: str) -> os.stat_result:
        file = self._listed(path)
        return self._states.get(file.inside) or os.stat(file.path)


class _Descriptor:
    """A file descriptor that is closed when it is collected: DuckDB releases files without closing them."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


def _large_file(descriptor: _Descriptor, size: int, file: File, failures: list[str]) -> PositionedFile:
    """A file read by offsets, so that threads do not wait for each other."""

    def read_at(start: int, stop: int) -> bytes:
        try:
            return os.pread(descriptor.number, stop - start, start)
        except OSError as error:
            failures.append(f"{file.shown}: {error.strerror}")
            raise

    return PositionedFile(size, read_at)
