"""A stream of rows that can be read again: the source once, after that a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from survey.errors import UsageError
from survey.records.blocks import Block


@contextmanager
def _disk_full_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{tempfile.gettempdir()} has no space for a copy of the matrix: {error.strerror}. "
            "Set TMPDIR to a folder with more space"
        ) from error


class Spool:
    """A copy of a stream of blocks in a temporary file, written while the blocks pass.

    The source is read once: a model of the Hub is fetched once, and a file that changes meanwhile cannot
    answer differently the second time. The copy takes the matrix's size in TMPDIR and is removed when the
    spool is closed. Memory does not grow.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def record(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks, each written to the file first. Raises UsageError if the disk is full."""
        for block in blocks:
            with _disk_full_explained():
                self._file.write(block)
            yield block
        with _disk_full_explained():
            self._file.flush()

    def slabs(self, slab_bytes: int) -> Iterator[Block]:
        """The recorded bytes from the start, in slabs of `slab_bytes`; the last one may be shorter."""
        self._file.seek(0)
        while slab := self._file.read(slab_bytes):
            yield memoryview(slab)

    def read(self, start: int, count: int) -> bytes:
        """The recorded bytes [start, start + count)."""
        self._file.seek(start)
        return self._file.read(count)
