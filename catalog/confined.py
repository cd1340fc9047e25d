"""An object store's catalog as a file system for DuckDB: below its root, to read, and nothing else."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem

from catalog.files import FOLDERS, End, File, NoEnd, is_tail_whole

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from catalog.remote import ObjectStore, Unreadable

TAIL_BYTES = 1 << 16  # holds the footer of a row file, 20 kB
SMALL_BYTES = 1 << 18  # a row file up to this size is fetched whole: one request instead of three
KEPT_BYTES = 128 << 20  # of small files in memory
BLOCK_BYTES = 1 << 17  # read ahead


class ConfinedFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec is not typed
    """Files that were listed, by `catalog://folder/name`.

    DuckDB opens each file several times: sizes come from the listing and small files from memory.
    Nothing that was not listed can be opened, so no path leads out of the catalog; what would
    write is not implemented, so nothing can.
    """

    protocol = "catalog"
    cachable = False

    def __init__(self, store: ObjectStore) -> None:
        super().__init__()
        self._store = store
        self._files: dict[str, File] = {}
        self._tails: dict[str, tuple[str, bytes]] = {}  # by path: the version and its last bytes
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def look_at(self, files: Sequence[File]) -> list[End | NoEnd]:
        """Fetch the end of each file: all of its footer."""
        from catalog.remote import Unreadable

        ends: list[End | NoEnd] = []
        for file, tail in zip(files, self._store.at_once(self._tail, files), strict=True):
            if isinstance(tail, Unreadable):
                ends.append(NoEnd(f"cannot be read: {tail}", gone=tail.gone))
            elif not is_tail_whole(tail, file.size):
                ends.append(End(None))
            else:
                self._files[_inside(file.path)] = file
                footer_bytes = int.from_bytes(tail[-8:-4], "little")
                ends.append(End(tail[-8 - footer_bytes : -8]))
        return ends

    def _tail(self, file: File) -> bytes | Unreadable:
        from catalog.remote import Unreadable

        known = self._tails.get(file.path)
        if known is not None and known[0] == file.version:
            return known[1]
        whole = file.size <= SMALL_BYTES and self._kept_bytes < KEPT_BYTES
        wanted = file.size if whole else min(file.size, TAIL_BYTES)
        try:
            tail = self._store.range(file, file.size - wanted, file.size) if wanted else b""
            missing = int.from_bytes(tail[-8:-4], "little") + 8 - len(tail)
            if missing > 0 and is_tail_whole(tail, file.size):  # a part's footer may be longer
                start = file.size - wanted
                tail = self._store.range(file, start - missing, start) + tail
        except Unreadable as error:
            return error
        with self._lock:
            self._tails[file.path] = (file.version, tail)
            self._kept_bytes += len(tail)
        return tail

    def info(self, path: str, **_: Any) -> dict[str, Any]:  # Any: as fsspec has it
        inside = _inside(path)
        if inside in FOLDERS or not inside:
            return {"name": inside, "size": 0, "type": "directory"}
        file = self._listed(inside)
        return {"name": inside, "size": file.size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        inside = _inside(path)
        names = [name for name in sorted(self._files) if name.startswith(f"{inside}/" if inside else "")]
        return [self.info(name) for name in names] if detail else names

    def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
        inside = _inside(path)
        if inside in self._files:  # DuckDB globs each name of a list
            return [f"{self.protocol}://{inside}"]
        return [f"{self.protocol}://{name}" for name in super().glob(path, maxdepth=maxdepth)]

    def modified(self, path: str) -> datetime:
        self._listed(_inside(path))
        return datetime(2000, 1, 1)  # versions are told apart when files are listed

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BufferedReader:
        if mode != "rb":
            raise PermissionError("a catalog is only read")
        file = self._listed(_inside(path))
        return io.BufferedReader(_Window(self._store, file, self._tails[file.path][1]), BLOCK_BYTES)

    def _listed(self, inside: str) -> File:
        try:
            return self._files[inside]
        except KeyError:
            raise FileNotFoundError(f"{inside}: not in the catalog") from None


class _Window(io.RawIOBase):
    """One file: its end from memory, the rest by ranges."""

    def __init__(self, store: ObjectStore, file: File, tail: bytes) -> None:
        self._store, self._file, self._tail = store, file, tail
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._file.size)
        if stop <= self._at:
            return 0
        kept_from = self._file.size - len(self._tail)
        if self._at >= kept_from:
            content = self._tail[self._at - kept_from : stop - kept_from]
        else:
            stop = min(stop, kept_from)
            content = self._store.range(self._file, self._at, stop)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


def _inside(path: str) -> str:
    return path.removeprefix("catalog://").strip("/")
