"""A local catalog as DuckDB sees it."""

from __future__ import annotations

import os
from datetime import datetime

from catalog.confined import ConfinedFiles, PositionedFile
from catalog.files import File
from catalog.regular import descriptor_to_read

SMALL_BYTES = 1 << 18  # a file up to this size is read whole: a row file is read five times


class LocalFiles(ConfinedFiles):
    """The files of a folder. A size or a time is that of the file that was opened last."""

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
        descriptor = descriptor_to_read(file.path)
        try:
            state = self._states[file.inside] = os.fstat(descriptor)
            if state.st_size > SMALL_BYTES:
                opened, descriptor = _LargeFile(descriptor, state.st_size, file, self.failures), -1
                return opened
            content = os.read(descriptor, state.st_size)
            return PositionedFile(state.st_size, lambda start, stop: content[start:stop])
        finally:
            if descriptor != -1:
                os.close(descriptor)

    def _state(self, path: str) -> os.stat_result:
        file = self._listed(path)
        return self._states.get(file.inside) or os.stat(file.path)


class _LargeFile(PositionedFile):
    """Each read names its offset, so that threads do not wait for each other."""

    def __init__(self, descriptor: int, size: int, file: File, failures: list[str]) -> None:
        super().__init__(size, self._pread)
        self._descriptor, self._file, self._failures = descriptor, file, failures

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _pread(self, start: int, stop: int) -> bytes:
        try:
            return os.pread(self._descriptor, stop - start, start)
        except OSError as error:
            self._failures.append(f"{self._file.shown}: {error.strerror}")
            raise
