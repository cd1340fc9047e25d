"""A checkpoint in a folder of this machine, read by byte range as one of the Hub is."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from itertools import groupby
from pathlib import Path

import xxhash

from survey.checkpoints.checkpoint import INDEX_CAP_BYTES, Card, OnBytes
from survey.checkpoints.folder_files import file_sizes, snapshot
from survey.checkpoints.folder_links import strange_link
from survey.checkpoints.folder_weights import (
    ADAPTER_CONFIG,
    CONFIG,
    DISTRIBUTED,
    MISTRAL_CONFIG,
    is_of_devices,
)
from survey.checkpoints.tokenizer_files import tokenizer_files, weights_of_gguf
from survey.errors import BrokenFile, NotThere, Unreachable, storable
from survey.formats.safetensors_header import FIRST_READ_BYTES, HEADER_CAP_BYTES, LENGTH_BYTES
from survey.process.bounded_file import open_regular, read_at
from survey.process.machine import cpus
from survey.records.blocks import Block, new_buffer
from survey.records.target import FileVersion, Traffic, name_with_part
from survey.records.tensors import ByteRange, ChunkRun, FileRange

MOST_READERS = 4  # of one file; few cores have enough to do with the bytes that one thread reads


class FolderCheckpoint:
    """A checkpoint folder. `sha` is a digest of the files that decide the measurement."""

    def __init__(self, folder: Path, part: str | None = None, limit_s: float = math.inf) -> None:
        """part: the folder or file in it that the user named. limit_s: for planning it, from now.

        Raises NotThere if the folder or a file in it cannot be read.
        """
        self._limit_s, self._deadline = limit_s, time.monotonic() + limit_s
        self.folder, self.part = Path(os.path.realpath(folder)), part
        self.repo = storable(name_with_part(str(self.folder), part))
        self.revision = "main"
        self.card = Card()
        self.traffic = Traffic()  # nothing is read over a network
        self.versions: tuple[FileVersion, ...] = ()  # a change shows in the sha
        try:
            self._root = snapshot(self.folder)
            self.files: Mapping[str, int] = file_sizes(self._root, part)
        except OSError as error:
            raise NotThere(
                "not-found", self.repo, f"cannot list the folder: {error}", _remedy(error)
            ) from error
        try:
            self.sha = f"local-{self._digest()}"
        except OSError as error:
            raise NotThere("no-config", self.repo, f"cannot be read: {error}", _remedy(error)) from error

    def refuse_late(self) -> None:
        """Raise Unreachable (`timeout`) if planning it took too long."""
        if time.monotonic() > self._deadline:
            raise Unreachable("timeout", self.repo, f"not planned after {self._limit_s:.0f} s")

    def content_id(self, file: str) -> str | None:
        """Of a file: what its folder's digest knows of it, its size and time and the structure of weights.

        A time in whole seconds was set by an archive or a tool, perhaps for many files of equal size: then
        its path counts, too.
        """
        path = self._root / file
        try:
            stated = path.stat()
            structure = xxhash.xxh3_128_hexdigest(self._structure(file, stated.st_size))
        except OSError:
            return None
        at = os.path.realpath(path) if stated.st_mtime_ns % 10**9 == 0 else ""
        return f"file {stated.st_size} {stated.st_mtime_ns} {structure} {at}"

    def chunks(self, source: FileRange) -> tuple[ChunkRun, ...]:
        return ()

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        """The content of a small file. Raises BrokenFile if it is larger than the cap or cannot be read."""
        if self.files[file] > cap_bytes:
            raise BrokenFile(
                "bad-header",
                self._where(file),
                f"has {self.files[file]:,} bytes, expected at most {cap_bytes:,}",
            )
        if (target := strange_link(self._root, file)) is not None:  # its text may get into the catalog
            problem = f"is a link to {target}, which is no file of a checkpoint; nothing of it was read"
            raise BrokenFile("bad-header", self._where(file), problem, "copy into the folder what is meant")
        return self.read_range(file, ByteRange(0, self.files[file]))

    def read_range(self, file: str, byte_range: ByteRange) -> bytes:
        (block,) = self.stream([FileRange(file, byte_range)], lambda count: None)
        return bytes(block)

    def stream(self, ranges: Sequence[FileRange], on_bytes: OnBytes) -> Iterator[Block]:
        """Yield the ranges in order; neighbours in a file share an open file. Raises BrokenFile."""
        for file, of_file in groupby(ranges, key=lambda source: source.file):
            yield from self._stream_file(file, [source.bytes for source in of_file], on_bytes)

    def _stream_file(self, file: str, ranges: Sequence[ByteRange], on_bytes: OnBytes) -> Iterator[Block]:
        # Read, not mapped: a file that shrinks under a mapping kills the process (SIGBUS).
        try:
            with open_regular(self._root / file) as opened:
                for block in _read_ahead(lambda byte_range: self._read(opened, byte_range, file), ranges):
                    on_bytes(len(block))
                    yield block
        except OSError as error:
            problem = f"cannot be read: {error}"
            raise BrokenFile("bad-header", self._where(file), problem, _remedy(error)) from error

    def _read(self, opened: FileIO, byte_range: ByteRange, file: str) -> Block:
        block, filled = new_buffer(len(byte_range)), 0
        while filled < len(block):
            count = os.preadv(opened.fileno(), [block[filled:]], byte_range.start + filled)
            if not count:
                raise BrokenFile(
                    "bad-header",
                    self._where(file),
                    f"ends at byte {byte_range.start + filled:,}, expected at least {byte_range.stop:,}: "
                    "the file is cut short",
                )
            filled += count
        return block

    def _digest(self) -> str:
        """A digest of configs and indexes, of the weights' structure, and of the files' sizes and times."""
        digest = xxhash.xxh3_128()
        names, left_bytes = tokenizer_files(self.files, self.part), 2 * INDEX_CAP_BYTES
        gguf = weights_of_gguf(self.files, self.part)  # they describe themselves: nothing beside them counts
        for file, size in self.files.items() if not gguf else [(file, self.files[file]) for file in gguf]:
            self.refuse_late()
            if self._is_config_or_index(file):
                digest.update(f"{file}\0{size}\0".encode())
                whole = size <= min(left_bytes, INDEX_CAP_BYTES)  # a larger one is refused
                left_bytes -= size if whole else 0
                digest.update(read_at(self._root / file, 0, size if whole else FIRST_READ_BYTES))
                if not whole:
                    digest.update(f"{(self._root / file).stat().st_mtime_ns}\0".encode())
            elif file in names or self._holds_weights(file):
                changed = (self._root / file).stat().st_mtime_ns
                digest.update(f"{file}\0{size}\0{changed}\0".encode())
                if file not in names or file.endswith(".gguf"):
                    digest.update(self._structure(file, size))
        return digest.hexdigest()

    def _structure(self, file: str, size: int) -> bytes:
        """The bytes of a file of weights that describe its tensors; of other files, their ends."""
        is_header_first = file.endswith(".safetensors")
        return self._header_bytes(file, size) if is_header_first else self._ends(file, size)

    def _is_config_or_index(self, file: str) -> bool:
        name = file.rpartition("/")[2]
        is_config = name == CONFIG or (name in (MISTRAL_CONFIG, ADAPTER_CONFIG) and CONFIG not in self.files)
        is_index = ".safetensors.index." in name or name.endswith(".bin.index.json") or name == DISTRIBUTED
        return is_config or is_index

    def _holds_weights(self, file: str) -> bool:
        name = file.rpartition("/")[2]
        is_pickled = name.startswith(("pytorch_model", "adapter_model")) and name.endswith(".bin")
        is_known = name.endswith((".safetensors", ".gguf", ".distcp")) or is_pickled or is_of_devices(name)
        return is_known or file == self.part

    def _header_bytes(self, file: str, size: int) -> bytes:
        # Unchecked on purpose: a broken header must still give a sha to refuse it under.
        length = read_at(self._root / file, 0, LENGTH_BYTES)
        header_bytes = min(int.from_bytes(length, "little"), size, HEADER_CAP_BYTES)
        return length + read_at(self._root / file, len(length), header_bytes)

    def _ends(self, file: str, size: int) -> bytes:
        """The first and the last bytes of a file: the structure of a pickled checkpoint."""
        first = read_at(self._root / file, 0, FIRST_READ_BYTES)
        start = max(len(first), size - FIRST_READ_BYTES)
        return first + read_at(self._root / file, start, FIRST_READ_BYTES)

    def _where(self, file: str) -> str:
        return f"{self.repo}/{file}"


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "let the user who runs this read it"
    if isinstance(error, FileNotFoundError):
        return "check the path, and that its disk is there"
    return "look at the disk, or copy the checkpoint elsewhere"


def _read_ahead(read: Callable[[ByteRange], Block], ranges: Sequence[ByteRange]) -> Iterator[Block]:
    """The blocks in order, by several threads on many cores: one reads 6 GB/s of cached files, four 20."""
    at_once = min(MOST_READERS, cpus() // 4, len(ranges))
    if at_once < 2:
        yield from map(read, ranges)
        return
    with ThreadPoolExecutor(at_once) as readers:
        reading: deque[Future[Block]] = deque()
        for byte_range in ranges:
            reading.append(readers.submit(read, byte_range))
            if len(reading) == at_once:
                yield reading.popleft().result()
        while reading:
            yield reading.popleft().result()
