"""A local safetensors file, read and written in pieces, as a training history is larger than memory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from survey.errors import BrokenFile, UsageError
from survey.formats.safetensors_header import LENGTH_BYTES, Header, read_header
from survey.numerics.decoding import widen
from survey.numerics.dtypes import BITS, FLOATS
from survey.process.atomic_write import finish_resumed, open_to_resume
from survey.process.bounded_file import open_regular
from survey.records.tensors import ByteRange, TensorSpec

UNFINISHED = ".partial"  # ends the name of an unfinished file
FileLayout = Mapping[str, tuple[str, tuple[int, ...]]]  # name -> dtype code, shape; in the file's order
INTEGERS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "|u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"}
_NUMPY = {**INTEGERS, "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # BF16: its bits


class TensorReader:
    """An open safetensors file whose header was checked; `header.tensors` names what it holds."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError if the file cannot be opened, BrokenFile if it is damaged."""
        try:
            self._opened = open_regular(path)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        self.path = path
        try:
            size = os.fstat(self._opened.fileno()).st_size
            self.header: Header = read_header(self.bytes, path.name, size, str(path))
        except BaseException:
            self._opened.close()
            raise

    def __enter__(self) -> TensorReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def bytes(self, byte_range: ByteRange) -> bytes:
        """Exactly these bytes. Raises UsageError if reading fails, BrokenFile if the file is too short."""
        content = bytearray()
        while len(content) < len(byte_range):
            missing = len(byte_range) - len(content)
            try:
                piece = os.pread(self._opened.fileno(), missing, byte_range.start + len(content))
            except OSError as error:
                raise UsageError(f"{self.path}: cannot be read: {error.strerror}") from error
            if not piece:
                raise BrokenFile("bad-header", str(self.path), f"ends before byte {byte_range.stop:,}")
            content += piece
        return bytes(content)

    def integers(self, name: str) -> NDArray[np.int64]:
        """A whole tensor of integers, in its stored shape. Raises UsageError for another dtype."""
        spec = self.header.tensors[name]
        if spec.dtype not in INTEGERS:
            raise UsageError(f"{self.path}: {name} is {spec.dtype}, expected integers")
        stored = np.frombuffer(self.bytes(spec.bytes), dtype=INTEGERS[spec.dtype])
        return stored.astype(np.int64).reshape(spec.shape)

    def floats(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Elements [start, stop) of a tensor's first axis, exactly, as float64 [stop - start, ...].

        Raises UsageError for another dtype.
        """
        spec = self.header.tensors[name]
        stop = spec.shape[0] if stop is None else stop
        item_bytes = len(spec.bytes) // spec.shape[0] if spec.shape[0] else 0
        first = spec.bytes.start
        stored = self.bytes(ByteRange(first + start * item_bytes, first + stop * item_bytes))
        flat = widen(stored, FLOATS[self.check_floats(spec)], math.prod(spec.shape[1:]))
        return flat.reshape(stop - start, *spec.shape[1:])

    def check_floats(self, spec: TensorSpec) -> str:
        """The dtype code of a tensor of floats. Raises UsageError for another dtype."""
        if spec.dtype not in FLOATS:
            raise UsageError(f"{self.path}: {spec.name} is {spec.dtype}, expected one of {', '.join(FLOATS)}")
        return spec.dtype


class TensorWriter:
    """A safetensors file whose header is written first and whose tensors follow in pieces, in any order.

    It grows under a temporary name, and is renamed when the `with` block ends without an exception. With
    `keep` an unfinished file stays, and the next writer of the same layout resumes it (`resumed`).
    """

    def __init__(
        self, path: Path, layout: FileLayout, metadata: Mapping[str, str] | None = None, *, keep: bool = False
    ) -> None:
        """Raises UsageError if the file cannot be made, or if another process is writing it."""
        self.path, self._layout, self._keep = path, layout, keep
        self.beside = path.with_name(f".{path.name}{UNFINISHED}")
        start, self._at = _header(layout, metadata or {})
        self.resumed = False
        try:
            self._handle = open_to_resume(self.beside)
            self._claim()
            self.resumed = keep and os.pread(self._handle, len(start), 0) == start
            if not self.resumed:
                os.ftruncate(self._handle, 0)
                self._write(start, 0)
            os.ftruncate(self._handle, self._at[None])  # sparse until it is written
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error

    def _claim(self) -> None:
        """Lock the file; the system releases the lock when the process ends, however it ends."""
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.stat(self.beside), os.fstat(self._handle))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:  # it may have been finished and renamed between opening and locking
            os.close(self._handle)
            raise UsageError(f"{self.path}: another process is writing it")

    def put(self, name: str, piece: NDArray[np.generic], start: int = 0) -> None:
        """Write elements of a tensor's first axis from `start` on. Raises UsageError.

        piece: [n, ...] of the tensor's shape but for the first axis; of BF16 its bits, as uint16.
        """
        dtype, shape = self._layout[name]
        item_bytes = math.prod(shape[1:]) * BITS[dtype] // 8
        stored = np.ascontiguousarray(piece, dtype=_NUMPY[dtype])
        assert stored.shape[1:] == shape[1:], (name, stored.shape)
        assert start + len(stored) <= shape[0], (name, start, len(stored))
        self._write(stored.tobytes(), self._at[name] + start * item_bytes)

    def sync(self) -> None:
        """Make the bytes written so far survive a power cut."""
        os.fsync(self._handle)

    def _write(self, stored: bytes, at: int) -> None:
        view = memoryview(stored)
        while view:
            try:
                count = os.pwrite(self._handle, view, at)
            except OSError as error:
                raise UsageError(f"{self.path}: cannot be written: {error.strerror}") from error
            view, at = view[count:], at + count

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                finish_resumed(self._handle, self.beside, self.path)
            elif not self._keep:
                with contextlib.suppress(OSError):
                    self.beside.unlink()
        finally:
            os.close(self._handle)


def _header(layout: FileLayout, metadata: Mapping[str, str]) -> tuple[bytes, dict[str | None, int]]:
    """Length field and JSON, and the offset of each tensor in the file; None: the file's size."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    starts: dict[str | None, int] = {}
    at = 0
    for name, (dtype, shape) in layout.items():
        size = math.prod(shape) * BITS[dtype] // 8
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        starts[name], at = at, at + size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned
    first = LENGTH_BYTES + len(text)
    offsets = {name: first + start for name, start in starts.items()}
    return len(text).to_bytes(LENGTH_BYTES, "little") + text, offsets | {None: first + at}
