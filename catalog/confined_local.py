"""A local catalog as DuckDB sees it."""

from __future__ import annotations

import os
from datetime import datetime

from catalog.confined import ConfinedFiles, PositionedFile
from catalog.files import File


class LocalFiles(ConfinedFiles):
    """The files of a folder. A size or a time is that of the file that was opened last."""

    def __init__(self) -> None:
        super().__init__()
        self._states: dict[str, os.stat_result] = {}

    def opened(self, file: File) -> PositionedFile:
        try:
            opened = _LocalFile(file.path)
        except FileNotFoundError:
            raise
        except OSError as error:
            self.failures.append(f"{file.shown}: {error.strerror}")
            raise
        self._states[file.inside] = opened.state
        return opened

    def size(self, path: str) -> int:
        return self._state(path).st_size

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(self._state(path).st_mtime)

    def _state(self, path: str) -> os.stat_result:
        file = self._listed(path)
        return self._states.get(file.inside) or os.stat(file.path)


class _LocalFile(PositionedFile):
    def __init__(self, path: str) -> None:
        # A descriptor, and pread: 1,000 files are opened three times each, and 100 MB parts are read
        # by several threads at once, which do not wait for each other.
        self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.state = os.fstat(self._descriptor)
        super().__init__(self.state.st_size, self._pread)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().close()

    def _pread(self, start: int, stop: int) -> bytes:
        if self._descriptor is None:
            raise ValueError("read of a closed file")
        return os.pread(self._descriptor, stop - start, start)
