"""A pickled checkpoint (`pytorch_model.bin`) as a header: names, dtypes, shapes, byte ranges.

No code from the file is run (see `survey.formats.unpickler`), and only the requested tensor is read: its
storage must lie uncompressed in the file, and the tensor must be a contiguous part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO

from survey.errors import BrokenFile
from survey.formats import torch_legacy, torch_zip
from survey.formats.bounded_json import refuse_long_name
from survey.formats.git_lfs import refuse_pointer
from survey.formats.safetensors_header import FIRST_READ_BYTES, Header, ReadRange
from survey.formats.torch_legacy import TorchLegacy
from survey.formats.torch_tensor import PickledTensor
from survey.formats.torch_zip import TorchZip
from survey.formats.unpickler import read_pickle, state_dict
from survey.numerics.dtypes import BITS
from survey.records.tensors import ByteRange, TensorSpec

LAST_READ_BYTES = (64 << 10) + 128  # a zip's directory is found in its last 64 KiB and 98 bytes


class PickledTensors(Mapping[str, TensorSpec]):
    """Tensors by name. Looking up a tensor reads the few bytes before its storage, once for each storage.

    A look-up raises BrokenFile (`bad-pickle`) if the tensor contradicts its storage.
    """

    def __init__(
        self,
        file: str,
        tensors: Mapping[str, PickledTensor],
        storage: Callable[[str], ByteRange],
        where: str,
    ) -> None:
        self._file, self._tensors, self._storage, self._where = file, tensors, storage, where
        self._known: dict[str, ByteRange] = {}
        for name in tensors:
            refuse_long_name(name, "bad-pickle", where)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> TensorSpec:
        tensor = self._tensors[name]
        key = tensor.storage.key
        if key not in self._known:
            self._known[key] = self._storage(key)
        span = _span(tensor, self._known[key])
        if isinstance(span, str):
            raise BrokenFile("bad-pickle", self._where, f"{name} {span}")
        return TensorSpec(name, self._file, tensor.dtype, tensor.shape, span)


def read_pickled(read: ReadRange, file: str, size: int, where: str) -> Header:
    """Read and check the structure of a torch file of `size` bytes through `read`.

    Raises BrokenFile (`bad-pickle`) naming `where`.
    """
    start = read(ByteRange(0, min(size, FIRST_READ_BYTES))) if size else b""
    refuse_pointer(start, "bad-pickle", where)
    if start.startswith(torch_legacy.LEGACY_MAGIC):
        legacy = TorchLegacy(read, size, start, where)
        tensors_of = PickledTensors(file, legacy.tensors, legacy.storage, where)
        return Header(file, size, tensors_of, outlines=legacy.tensors)
    if not start.startswith(torch_zip.ZIP_MAGIC):
        raise BrokenFile("bad-pickle", where, f"begins with {start[:8]!r}, expected a file of torch.save")
    end = max(len(start), size - LAST_READ_BYTES)
    spans = {0: start, end: read(ByteRange(end, size))} if end < size else {0: start}
    archive = TorchZip(read, size, spans, where)
    tensors = state_dict(read_pickle(BytesIO(archive.pickled()), where), where)
    return Header(file, size, PickledTensors(file, tensors, archive.storage, where), outlines=tensors)


def _span(tensor: PickledTensor, storage: ByteRange) -> ByteRange | str:
    """The tensor's bytes in the file, or why they are not a single range."""
    item_bytes = BITS[tensor.dtype] // 8
    stored = tensor.storage
    stored_bytes = stored.elements * (1 if stored.dtype is None else BITS[stored.dtype] // 8)
    if len(storage) != stored_bytes:
        return f"lies in a storage of {len(storage):,} bytes, the pickle says {stored_bytes:,}"
    contiguous: list[int] = []
    elements = 1
    for length in reversed(tensor.shape):
        contiguous.insert(0, elements)
        elements *= length
    if elements * item_bytes > len(storage):
        return f"has shape {list(tensor.shape)} in a storage of {len(storage):,} bytes"
    pairs = zip(tensor.shape, tensor.strides, contiguous, strict=True)
    if elements and any(length > 1 and stride != expected for length, stride, expected in pairs):
        return f"has strides {list(tensor.strides)}, expected {contiguous}: it is a view, not contiguous"
    start = storage.start + tensor.offset * item_bytes
    span = ByteRange(start, start + elements * item_bytes)
    if span.stop > storage.stop:
        return f"ends {span.stop - storage.stop:,} bytes after its storage"
    return span
