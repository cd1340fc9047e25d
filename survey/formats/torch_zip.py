"""A torch file since 1.6, read by ranges: a zip whose members are stored, not compressed.

Only these are read: the directory at its end, the pickle near its start, and of each requested tensor the
30 bytes and the name before its data. `zipfile` parses the directory, zip64 included.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

from survey.errors import BrokenFile
from survey.formats.pickle_machine import PICKLE_CAP_BYTES
from survey.formats.safetensors_header import ReadRange
from survey.records.tensors import ByteRange

ZIP_MAGIC = b"PK\x03\x04"
DIRECTORY_CAP_BYTES = 4 << 20  # 40,000 members take as much
LOCAL_HEADER = struct.Struct("<4s5H3L2H")  # of a member, before its name: APPNOTE.TXT 4.3.7
ENCRYPTED = 0x2041


class RangeFile(io.BytesIO):
    """A remote file as `zipfile` reads it. spans: bytes that are known, by their offset in the file."""

    def __init__(self, read: ReadRange, size: int, spans: Mapping[int, bytes], where: str) -> None:
        super().__init__()
        self._read, self._size, self._spans, self._where = read, size, spans, where
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise zipfile.BadZipFile(f"an offset of {at:,}")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def read(self, count: int | None = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        count = left if count is None or count < 0 else min(count, left)
        if count > DIRECTORY_CAP_BYTES:
            raise zipfile.BadZipFile(
                f"a directory of {count:,} bytes, expected at most {DIRECTORY_CAP_BYTES:,}"
            )
        content = self.fetch(ByteRange(self._at, self._at + count)) if count else b""
        self._at += count
        return content

    def fetch(self, byte_range: ByteRange) -> bytes:
        """These bytes: from a known span that holds them all, else by a read."""
        if not len(byte_range):
            return b""  # HTTP has no empty range
        for start, span in self._spans.items():
            if start <= byte_range.start and byte_range.stop <= start + len(span):
                return span[byte_range.start - start : byte_range.stop - start]
        return self._read(byte_range)


class TorchZip:
    """The members of a file, and the bytes of their data."""

    def __init__(self, read: ReadRange, size: int, spans: Mapping[int, bytes], where: str) -> None:
        """Raises BrokenFile (`bad-pickle`) if the file has no readable directory."""
        self._file, self._where = RangeFile(read, size, spans, where), where
        try:
            with zipfile.ZipFile(self._file) as opened:
                members, self._directory = opened.infolist(), opened.start_dir
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
            raise self._bad(f"is no whole zip: {error}") from error
        self._members = {member.orig_filename: member for member in members}
        if len(self._members) != len(members):
            raise self._bad("holds two members of one name")
        if min((member.header_offset for member in members), default=0) != 0:
            # zipfile would shift all offsets by the length of bytes before the zip; torch does not.
            raise self._bad("does not begin with its first member")
        pickles = [name for name in self._members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise self._bad(f"holds {len(pickles)} members called data.pkl, expected one")
        self._root = pickles[0].removesuffix("data.pkl")
        if f"{self._root}constants.pkl" in self._members:
            raise self._bad("is a TorchScript program, expected a state dict")

    def pickled(self) -> bytes:
        """The pickle that describes the tensors. Raises BrokenFile (`bad-pickle`)."""
        if f"{self._root}byteorder" in self._members:
            order = self._content("byteorder", 16)
            if order != b"little":
                raise self._bad(f"has the byte order {order!r}, expected little")
        return self._content("data.pkl", PICKLE_CAP_BYTES)

    def storage(self, key: str) -> ByteRange:
        """A storage's bytes in the file. Raises BrokenFile (`bad-pickle`)."""
        return self._data(f"data/{key}")

    def _content(self, name: str, cap_bytes: int) -> bytes:
        data = self._data(name)
        if len(data) > cap_bytes:
            raise self._bad(f"{name} has {len(data):,} bytes, expected at most {cap_bytes:,}")
        return self._file.fetch(data)

    def _data(self, name: str) -> ByteRange:
        member = self._members.get(self._root + name)
        if member is None:
            raise self._bad(f"holds no {name}")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise self._bad(f"{name} is compressed, expected it as torch stores it")
        if member.flag_bits & ENCRYPTED:
            raise self._bad(f"{name} is encrypted")
        start = member.header_offset
        stop = start + LOCAL_HEADER.size
        if start < 0 or stop > self._directory:
            raise self._bad(f"{name} is said to lie at byte {start:,}")
        expected = member.orig_filename.encode()
        local = self._file.fetch(ByteRange(start, min(stop + len(expected), self._directory)))
        magic, _, _, method, *_, name_bytes, extra_bytes = LOCAL_HEADER.unpack(local[: LOCAL_HEADER.size])
        if magic != ZIP_MAGIC or method != zipfile.ZIP_STORED:
            raise self._bad(f"has no stored member at byte {start:,}, where {name} should lie")
        # If the names differ, another reader of the same file might see other numbers.
        if name_bytes != len(expected) or local[LOCAL_HEADER.size :] != expected:
            raise self._bad(f"has a member of another name at byte {start:,}, where {name} should lie")
        data = ByteRange(stop + name_bytes + extra_bytes, stop + name_bytes + extra_bytes + member.file_size)
        if data.stop > self._directory:
            raise self._bad(f"{name} ends at byte {data.stop:,}, after the data's end {self._directory:,}")
        return data

    def _bad(self, problem: str) -> BrokenFile:
        return BrokenFile("bad-pickle", self._where, problem)
