"""Output that is kept until all of it is made, so that nothing of an answer is printed that then fails."""

from __future__ import annotations

import errno
import io
import shutil
import tempfile
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from survey.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MEMORY_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 20


class Spool(io.RawIOBase):
    """A binary file of what will be printed: a little in memory, more in a temporary file without a name.

    That file takes at most half of the room that its disk has.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - see close()
        self._room_bytes: int | None = None

    def close(self) -> None:
        self._file.close()
        super().close()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        self._file.truncate(self.tell() if size is None else size)
        return self.tell()

    def write(self, content: ReadableBuffer) -> int:
        """Keep these bytes, too. Raises UsageError if the disk has no room."""
        size = memoryview(content).nbytes
        try:
            if self.tell() + size > _MEMORY_BYTES and self.tell() + size > self._room():
                raise OSError(errno.ENOSPC, "it would take half of its free space")
            self._file.write(content)
        except OSError as error:
            raise UsageError(
                f"{tempfile.gettempdir()} has no room for the answer ({error.strerror}): ask for less, or "
                "name another folder by TMPDIR"
            ) from error
        return size

    def fill(self, texts: Iterable[str]) -> None:
        """Keep these texts, and nothing that was written before. Raises UsageError as `write`."""
        self.seek(0)
        self.truncate()
        for text in texts:
            self.write(text.encode("utf-8", "surrogatepass"))

    def texts(self) -> Iterator[str]:
        """All that was written, as text."""
        decoder = getincrementaldecoder("utf-8")("surrogatepass")
        for chunk in self.chunks():
            yield decoder.decode(chunk)

    def chunks(self) -> Iterator[bytes]:
        """All that was written."""
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            yield chunk

    def _room(self) -> int:
        if self._room_bytes is None:
            self._room_bytes = shutil.disk_usage(tempfile.gettempdir()).free >> 1
        return self._room_bytes
