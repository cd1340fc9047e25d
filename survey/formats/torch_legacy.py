"""A torch file from before 1.6, read by ranges: five pickles, then the storages in a stated order.

magic number, version, system, state dict, list of storage keys; then for each key a little-endian
count of elements (8 bytes) and its data (torch/serialization.py, `_legacy_save`).
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from survey.errors import BrokenFile
from survey.formats.pickle_machine import PICKLE_CAP_BYTES, Cut
from survey.formats.safetensors_header import ReadRange
from survey.formats.torch_tensor import PickledTensor
from survey.formats.unpickler import read_pickle, state_dict
from survey.numerics.dtypes import BITS
from survey.records.tensors import ByteRange

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_MAGIC = b"\x80\x02\x8a\x0a" + MAGIC_NUMBER.to_bytes(10, "little") + b"."
PROTOCOL_VERSION = 1001
COUNT_BYTES = 8


class TorchLegacy:
    """The tensors of a file, and the bytes of their storages."""

    def __init__(self, read: ReadRange, size: int, start: bytes, where: str) -> None:
        """start: the first bytes of the file. Raises BrokenFile (`bad-pickle`)."""
        self._read, self._size, self._where = read, size, where
        while True:
            try:
                self.tensors, keys, at = self._parse(start)
                break
            except Cut:
                enough = min(size, PICKLE_CAP_BYTES)
                if len(start) >= enough:
                    raise
                start += read(ByteRange(len(start), min(8 * len(start), enough)))
        self._spans = self._storage_spans(keys, at)

    def storage(self, key: str) -> ByteRange:
        """A storage's bytes in the file. Raises BrokenFile (`bad-pickle`)."""
        span = self._spans.get(key)
        if span is None:
            raise self._bad(f"lists no storage {key[:80]}")
        elements, data = span
        if data.stop > self._size:
            raise self._bad(f"storage {key[:80]} ends at byte {data.stop:,} of {self._size:,}")
        stored = int.from_bytes(self._read(ByteRange(data.start - COUNT_BYTES, data.start)), "little")
        if stored != elements:
            raise self._bad(f"storage {key[:80]} has {stored:,} elements, its tensors say {elements:,}")
        return data

    def _parse(self, start: bytes) -> tuple[Mapping[str, PickledTensor], list[str], int]:
        stream = BytesIO(start[len(LEGACY_MAGIC) :])
        version = read_pickle(stream, self._where)
        if type(version) is not int or version != PROTOCOL_VERSION:
            raise self._bad("is of no known version of torch's format")
        system = read_pickle(stream, self._where)
        if type(system) is not dict or system.get("little_endian") is not True:
            raise self._bad("was not written on a little-endian machine")
        tensors = state_dict(read_pickle(stream, self._where), self._where)
        keys = read_pickle(stream, self._where)
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise self._bad("has no list of its storages")
        return tensors, keys, len(LEGACY_MAGIC) + stream.tell()

    def _storage_spans(self, keys: list[str], at: int) -> dict[str, tuple[int, ByteRange]]:
        """key -> number of elements, and their bytes; a storage of unknown size ends the list."""
        known = {tensor.storage.key: tensor.storage for tensor in self.tensors.values()}
        spans: dict[str, tuple[int, ByteRange]] = {}
        for key in keys:
            storage = known.get(key)
            if storage is None or storage.dtype is None:
                break
            start = at + COUNT_BYTES
            at = start + storage.elements * BITS[storage.dtype] // 8
            spans[key] = storage.elements, ByteRange(start, at)
        return spans

    def _bad(self, problem: str) -> BrokenFile:
        return BrokenFile("bad-pickle", self._where, problem)
