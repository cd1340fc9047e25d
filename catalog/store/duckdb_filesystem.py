"""A catalog as a file system for DuckDB: it can read files that were listed, and nothing else."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from threading import get_ident
from typing import Any, Self

from fsspec import AbstractFileSystem

from catalog.files import FOLDERS, PROTOCOL, File
from catalog.store.interrupts import Stops
from survey.errors import UsageError


class CatalogFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """Files that were listed, by `catalog://folder/name`.

    A file that was not listed cannot be opened, so no path leads out of the catalog; methods that write are
    not implemented. failures: errors of reading itself, which say nothing about the file. stops: signals to
    stop that arrived while DuckDB read.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[str] = []
        self.stops = Stops()
        self._files: dict[str, File] = {}

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """A block in which DuckDB may read. A signal to stop leaves it as KeyboardInterrupt."""
        self.failures.clear()  # of an earlier question
        with self.stops.heard():
            yield

    def refuse_failures(self) -> None:
        """Raises UsageError if bytes could not be read: that says nothing about their file."""
        if self.failures:
            failure = self.failures[0]
            self.failures.clear()
            raise UsageError(f"the catalog cannot be read now, try again: {failure}")

    def show(self, files: Sequence[File]) -> None:
        """Let these files be read."""
        self._files.update({file.inside: file for file in files})

    # DuckDB makes six calls for each file. The overhead of fsspec's own methods would be a third of the time
    # that 1,000 small files take.
    def open(self, path: str, mode: str = "rb", **_: Any) -> PositionedFile:  # Any: fsspec's signature
        if mode != "rb":
            raise PermissionError("a catalog is only read")
        return self.opened(self._listed(path))

    def opened(self, file: File) -> PositionedFile:
        """Open a file that was listed. Raises FileNotFoundError if it does not exist any more."""
        raise NotImplementedError

    def size(self, path: str) -> int:
        return self._listed(path).size

    def modified(self, path: str) -> datetime:
        raise NotImplementedError

    def isfile(self, path: str) -> bool:
        return _inside(path) in self._files

    def isdir(self, path: str) -> bool:
        return _inside(path) in ("", *FOLDERS)

    def exists(self, path: str, **_: Any) -> bool:
        return self.isfile(path) or self.isdir(path)

    def unstrip_protocol(self, name: str) -> str:
        return f"{PROTOCOL}://{_inside(name)}"

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        if self.isdir(path):
            return {"name": _inside(path), "size": 0, "type": "directory"}
        return {"name": _inside(path), "size": self.size(path), "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        inside = _inside(path)
        names = [name for name in sorted(self._files) if name.startswith(f"{inside}/" if inside else "")]
        return [self.info(name) for name in names] if detail else names

    def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
        if self.isfile(path):  # DuckDB globs each name of a list
            return [path]
        return list(super().glob(_inside(path), maxdepth=maxdepth))

    def _listed(self, path: str) -> File:
        try:
            return self._files[_inside(path)]
        except KeyError:
            raise FileNotFoundError(f"{_inside(path)}: not in the catalog") from None


class PositionedFile:
    """An open file in which each thread has a position of its own.

    DuckDB reads one handle from many threads, each time by a seek and a read; while one thread waits for
    its bytes another seeks. With a common position, half the answers over a part of 2,500 rows in an
    object store were wrong. Not threading.local: it is emptied whenever a thread of DuckDB leaves Python.

    read_at: reads bytes [start, stop) of the file. ahead: a smaller read fetches this many bytes.
    """

    closed = False

    def __init__(self, size: int, read_at: Callable[[int, int], bytes], ahead: int = 0) -> None:
        self._size, self._read_at, self._ahead = size, read_at, ahead
        self._positions: dict[int, int] = {}
        self._blocks: dict[int, tuple[int, bytes]] = {}  # by thread: offset and bytes of its last read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tell(self) -> int:
        return self._positions.get(get_ident(), 0)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            offset += self.tell() if whence == io.SEEK_CUR else self._size
        self._positions[get_ident()] = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        thread = get_ident()
        start = self._positions.get(thread, 0)
        stop = self._size if size < 0 else min(start + size, self._size)
        content = self._between(start, stop) if start < stop else b""
        self._positions[thread] = start + len(content)
        return content

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def _between(self, start: int, stop: int) -> bytes:
        if not self._ahead:
            return self._read_at(start, stop)
        first, block = self._blocks.get(get_ident(), (0, b""))
        if not first <= start < stop <= first + len(block):
            if stop - start >= self._ahead:
                return self._read_at(start, stop)
            first, block = start, self._read_at(start, min(start + self._ahead, self._size))
            self._blocks[get_ident()] = first, block
        return block[start - first : stop - first]


def _inside(path: str) -> str:
    return path.removeprefix(f"{PROTOCOL}://").strip("/")
