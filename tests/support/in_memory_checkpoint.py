"""A checkpoint in memory, which records each read and refuses bytes that it lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from survey.checkpoints.checkpoint import Card, OnBytes
from survey.errors import BrokenFile
from survey.records.blocks import Block
from survey.records.target import Traffic
from survey.records.tensors import ByteRange, ChunkRun, FileRange


class HeldCheckpoint:
    """Files by name. A read of another file, or of bytes that a file has not, is an AssertionError."""

    repo, revision, sha, folder, part, versions = "org/held", "main", "f" * 40, None, None, ()

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = contents
        self.files: Mapping[str, int] = {name: len(content) for name, content in contents.items()}
        self.card, self.traffic = Card(), Traffic()
        self.read: list[tuple[str, ByteRange]] = []

    def refuse_late(self) -> None:
        """It has all the time."""

    def content_id(self, file: str) -> str | None:
        return None

    def chunks(self, source: FileRange) -> tuple[ChunkRun, ...]:
        return ()

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        if self.files[file] > cap_bytes:
            raise BrokenFile("bad-header", file, f"is larger than {cap_bytes:,} bytes")
        return self.read_range(file, ByteRange(0, self.files[file]))

    def read_range(self, file: str, byte_range: ByteRange) -> bytes:
        assert file in self._contents, f"{file} is no file of the repository"
        assert 0 <= byte_range.start <= byte_range.stop <= self.files[file], (
            f"{byte_range} lies outside {file}"
        )
        self.read.append((file, byte_range))
        return self._contents[file][byte_range.start : byte_range.stop]

    def stream(self, ranges: Sequence[FileRange], on_bytes: OnBytes) -> Iterator[Block]:
        for file_range in ranges:
            block = bytearray(self.read_range(file_range.file, file_range.bytes))
            on_bytes(len(block))
            yield block
