"""A stream of rows that can be read again: its source once, after that a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from survey.errors import UsageError
from survey.records.blocks import Block


@contextmanager
def _room_needed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"no room for a copy of the matrix in {tempfile.gettempdir()}: {error.strerror}. "
            "Point TMPDIR at a folder with room"
        ) from error


class Replay:
    """Slabs of `slab_bytes` each, kept while they pass.

    The source is read once: a model of the Hub is fetched once, and a file that changes meanwhile cannot
    answer differently the second time. The copy takes the matrix's size where TMPDIR points, and is gone when
    closed. Memory stays as it was.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def keep(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The same blocks, written down on their way. Raises UsageError where there is no room."""
        for block in blocks:
            with _room_needed():
                self._file.write(block)
            yield block
        with _room_needed():
            self._file.flush()

    def slabs(self, slab_bytes: int) -> Iterator[Block]:
        """What was kept, from the start, in pieces of `slab_bytes`; the last one may be shorter."""
        self._file.seek(0)
        while slab := self._file.read(slab_bytes):
            yield memoryview(slab)

    def piece(self, start: int, size: int) -> bytes:
        """Bytes [start, start + size) of what was kept."""
        self._file.seek(start)
        return self._file.read(size)
