"""The keys and values at the beginning of a GGUF file, read in order and in bounded memory.

Specification: ggml's docs/gguf.md, versions 2 and 3 (little-endian). Every length and count is a stranger's:
it is compared with the bytes that are left before anything is read or kept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from survey.formats.safetensors_header import ReadRange
from survey.records.tensors import ByteRange

MAGIC, VERSIONS = b"GGUF", (2, 3)
GGUF_CAP_BYTES = 64 << 20  # the largest vocabulary takes 30 MB with its merges
FIRST_WINDOW_BYTES = 1 << 20  # most headers hold a vocabulary of several MB
WINDOW_BYTES = 2 << 20  # on average half of it is read beyond the header
KEPT_TEXT_BYTES = 4096  # of a value; longer ones, such as chat templates, say nothing of the matrix
KEY_BYTES = 65_535  # the specification's limit
KEPT_BYTES = 16 << 20  # of all keys, names and texts; as text they may take four times as much
MOST_KEYS = 65_536
MOST_ARRAYS = 65_536
MOST_NESTED = 8  # arrays of arrays

STRING, ARRAY = 8, 9
# number of a type of values -> its struct code
SCALAR_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SIZES = {kind: struct.calcsize("<" + code) for kind, code in SCALAR_CODES.items()}
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class ArrayValue:
    """An array that was passed over: the type and number of its elements, and its bytes in the file."""

    kind: int
    count: int
    bytes: ByteRange


@dataclass
class Values:
    """The values by key: scalars and short texts, and where the arrays lie."""

    scalars: dict[str, Scalar] = field(default_factory=dict)
    arrays: dict[str, ArrayValue] = field(default_factory=dict)


class Window:
    """The file from its beginning, some MB at a time; `position` is the next byte's."""

    def __init__(self, read: ReadRange, size: int, first_bytes: int = FIRST_WINDOW_BYTES) -> None:
        """first_bytes: that are read at first; then twice as many, up to WINDOW_BYTES."""
        self._read, self._size, self._step = read, size, first_bytes
        self._limit = min(size, GGUF_CAP_BYTES)
        self._buffer, self._start, self.position = b"", 0, 0
        self._kept = self._arrays = 0

    def skip(self, count: int) -> None:
        """Pass over bytes, which need not be read. Raises ValueError."""
        self._check(count)
        self.position += count

    def take(self, count: int) -> bytes:
        """The next bytes. Raises ValueError if the file, or what we read of it, ends before."""
        self._check(count)
        offset = self.position - self._start
        if offset + count > len(self._buffer):
            self._fill(count)
            offset = 0
        self.position += count
        return self._buffer[offset : offset + count]

    def peek(self, most: int) -> bytes:
        """The next bytes, fewer at the end of the file; they are still to come."""
        position = self.position
        start = self.take(min(most, self._limit - position))
        self.position = position
        return start

    def u32(self) -> int:
        number: int = _U32.unpack(self.take(4))[0]
        return number

    def u64(self) -> int:
        number: int = _U64.unpack(self.take(8))[0]
        return number

    def skip_strings(self, count: int) -> None:
        """Pass over strings, each a length and its bytes. Raises ValueError."""
        self._check(8 * count)
        while count:
            count -= self._skip_buffered_strings(count)
            if count:
                self.skip(self.u64())
                count -= 1

    def _skip_buffered_strings(self, count: int) -> int:
        """Pass over the strings that lie whole in the buffer; their number. There may be half a million."""
        buffer, offset, unpack = self._buffer, self.position - self._start, _U64.unpack_from
        last, passed = len(buffer) - 8, 0
        while passed < count and 0 <= offset <= last:
            stop = offset + 8 + unpack(buffer, offset)[0]
            if stop > len(buffer):
                break
            offset, passed = stop, passed + 1
        self.position = self._start + offset if passed else self.position
        return passed

    def text(self, length: int, what: str) -> str:
        """The next bytes as a text that is kept. Raises ValueError."""
        self._kept += length
        if self._kept > KEPT_BYTES:
            raise ValueError(f"has keys, names and short texts of more than {KEPT_BYTES:,} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{what[:80]} is not UTF-8") from error

    def count_array(self) -> None:
        """Raise ValueError if there are too many: an empty one takes twelve bytes, and us a microsecond."""
        self._arrays += 1
        if self._arrays > MOST_ARRAYS:
            raise ValueError(f"has more than {MOST_ARRAYS:,} arrays")

    def _check(self, count: int) -> None:
        if self.position + count > self._limit:
            cap = " of which we read at most that much" if self._limit < self._size else ""
            raise ValueError(
                f"byte {self.position:,} announces {count:,} bytes more, expected the header to end "
                f"before byte {self._limit:,}{cap}"
            )

    def _fill(self, count: int) -> None:
        stop = min(self._size, self.position + max(count, self._step))
        self._step = min(2 * self._step, WINDOW_BYTES)
        self._buffer, self._start = self._read(ByteRange(self.position, stop)), self.position


def read_string(window: Window, most_bytes: int, what: str) -> str:
    """The next string, of at most `most_bytes`. Raises ValueError."""
    length = window.u64()
    if length > most_bytes:
        raise ValueError(f"{what} has {length:,} bytes, expected at most {most_bytes:,}")
    return window.text(length, what)


def read_preamble(window: Window) -> tuple[int, int]:
    """Check what a file begins with; the numbers of its tensors and of its keys. Raises ValueError."""
    magic = window.take(4)
    if magic != MAGIC:
        raise ValueError(f"begins with {magic!r}, expected {MAGIC!r}")
    version = window.u32()
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        shown = f"{swapped} in big-endian" if swapped in VERSIONS else f"{version:,}"
        raise ValueError(f"is of version {shown}, expected 2 or 3")
    return window.u64(), window.u64()


def preamble(keys: int) -> bytes:
    """What a file without tensors begins with."""
    return MAGIC + struct.pack("<IQQ", VERSIONS[-1], 0, keys)


def read_values(
    window: Window, count: int, is_enough: Callable[[Values], bool] = lambda values: False
) -> Values:
    """The next `count` keys with their values; fewer, once they are enough. Raises ValueError."""
    if count > MOST_KEYS:
        raise ValueError(f"announces {count:,} keys, expected at most {MOST_KEYS:,}")
    values, names = Values(), set[str]()
    for _ in range(count):
        key = read_string(window, KEY_BYTES, "a key")
        if key in names:
            raise ValueError(f"the key {key[:80]} stands there twice")
        names.add(key)
        _read_value(window, key, values)
        if is_enough(values):
            break
    return values


def _read_value(window: Window, key: str, values: Values) -> None:
    kind = window.u32()
    if kind == STRING:
        length = window.u64()
        if length > KEPT_TEXT_BYTES:
            window.skip(length)
        else:
            values.scalars[key] = window.text(length, key)
    elif kind == ARRAY:
        values.arrays[key] = _skip_array(window, key, 1)
    else:
        code = SCALAR_CODES.get(kind)
        if code is None:
            raise ValueError(f"the value of {key[:80]} has type {kind}, expected one of the format's 13")
        (values.scalars[key],) = struct.unpack("<" + code, window.take(_SIZES[kind]))


def _skip_array(window: Window, key: str, depth: int) -> ArrayValue:
    if depth > MOST_NESTED:
        raise ValueError(f"the value of {key[:80]} is an array in arrays, more than {MOST_NESTED} deep")
    window.count_array()
    kind, count = window.u32(), window.u64()
    start = window.position
    if kind == STRING:
        window.skip_strings(count)
    elif kind == ARRAY:
        for _ in range(count):
            _skip_array(window, key, depth + 1)
    elif kind in _SIZES:
        window.skip(count * _SIZES[kind])
    else:
        raise ValueError(f"the array {key[:80]} has elements of type {kind}, expected one of the format's 13")
    return ArrayValue(kind, count, ByteRange(start, window.position))
