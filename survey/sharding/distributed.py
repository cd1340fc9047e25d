"""torch's distributed checkpoints: `.metadata` locates each part of a tensor in the files `*.distcp`.

Each part is a complete torch.save file inside one of them. `.metadata` is a pickle of a few records; like any
pickle it is not run: a record is read as a name and a dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from typing import Any, TypeGuard

from survey.checkpoints.checkpoint import Checkpoint, read_text
from survey.errors import BrokenFile
from survey.formats.pickle_machine import HANDLERS, PICKLE_CAP_BYTES, Name, OpcodeHandler, PickleMachine
from survey.formats.safetensors_header import FIRST_READ_BYTES
from survey.formats.torch_file import LAST_READ_BYTES, PickledTensors
from survey.formats.torch_tensor import DTYPES, PickledTensor
from survey.formats.torch_zip import TorchZip
from survey.formats.unpickler import read_pickle
from survey.records.tensors import ByteRange, TensorSpec
from survey.sharding.cut_layout import ReadParts
from survey.sharding.joining import MatrixSize, TensorPart

METADATA = ".metadata"
_RECORDS = frozenset(
    f"torch.distributed.checkpoint.{name}"
    for name in (
        "metadata Metadata", "metadata TensorStorageMetadata", "metadata BytesStorageMetadata",
        "metadata ChunkStorageMetadata", "metadata TensorProperties", "metadata MetadataIndex",
        "metadata StorageMeta", "filesystem _StorageInfo", "filesystem StorageInfo",
    )
)  # fmt: skip
# A call of these is replaced by its arguments.
_VALUES = frozenset(
    (
        "torch.distributed.checkpoint.metadata _MEM_FORMAT_ENCODING", "torch.serialization _get_layout",
        "pathlib PosixPath", "torch Size",
    )
)  # fmt: skip


@dataclass(eq=False, slots=True)
class Record:
    """A record of the metadata. state: its fields."""

    name: str
    state: Any = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """A field; None if the record has none of this name."""
        return self.state.get(key) if type(self.state) is dict else None


class _Metadata(PickleMachine):
    """The pickle machine for `.metadata`: it builds records, and no tensors."""

    keys = (str, int, Record)

    def handler(self, opcode: str) -> OpcodeHandler | None:
        return {"NEWOBJ": _new_record}.get(opcode) or HANDLERS.get(opcode)

    def name(self, name: str) -> None:
        if name in _RECORDS or name in _VALUES or name in DTYPES:
            self.stack.append(Name(name))
        else:
            super().name(name)

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name in _VALUES:
            return arguments[0] if len(arguments) == 1 else arguments
        return super().call(name, arguments)

    def build(self) -> None:
        target, state = self.pop(2)
        if type(target) is not Record:
            raise self.refuse(f"sets attributes of a {type(target).__name__}")
        target.state = state
        self.stack.append(target)


def _new_record(machine: PickleMachine, _: Any) -> None:
    kind, arguments = machine.pop(2)
    if type(kind) is not Name or kind.name not in _RECORDS or arguments != ():
        raise machine.refuse("makes something that is no record of a checkpoint")
    machine.stack.append(Record(kind.name))


def distributed_parts(
    checkpoint: Checkpoint, folder: str
) -> tuple[dict[str, str], dict[str, ReadParts], dict[str, MatrixSize]]:
    """The first file, the parts and the size of each tensor.

    Raises BrokenFile (`bad-pickle`, `index-mismatch`).
    """
    file = folder + METADATA
    where = f"{checkpoint.repo}/{file}"
    text = read_text(checkpoint, file, PICKLE_CAP_BYTES, "bad-pickle")
    root = _Metadata(where).run(BytesIO(text))
    tensors, storage = (_dict(root, key, where) for key in ("state_dict_metadata", "storage_data"))
    stored = {
        (key.get("fqn"), key.get("offset")): value
        for key, value in storage.items()
        if type(key) is Record and type(value) is Record and _is_index(key)
    }
    file_of: dict[str, str] = {}
    cut: dict[str, ReadParts] = {}
    sizes: dict[str, MatrixSize] = {}
    left = len(storage)  # of parts; tensors of a small pickle can share a list of a hundred thousand
    for name, described in tensors.items():
        size = described.get("size") if type(described) is Record else None
        chunks = described.get("chunks") if type(described) is Record else None
        if not (_are_lengths(size) and len(size) <= 2 and type(chunks) is list and chunks):
            continue  # no tensor, or one that cannot be a matrix or a scale
        left -= len(chunks)
        if left < 0:
            problem = f"lists more parts of tensors than the {len(storage):,} that it says are stored"
            raise BrokenFile("bad-pickle", where, problem)
        parts = [_chunk(name, chunk, stored, checkpoint, folder, where) for chunk in chunks]
        file_of[name] = parts[0].file
        cut[name] = partial(_parts, checkpoint, name, parts)
        if len(size) == 2:  # a vector may be a bias, or a scale
            sizes[name] = MatrixSize(size[0], size[1], padded=False)
    return file_of, cut, sizes


@dataclass(frozen=True, slots=True)
class _Stored:
    """A part of a tensor. bytes: of its torch.save file inside `file`. offsets: of its start in the whole."""

    file: str
    bytes: ByteRange
    offsets: tuple[int, ...]
    shape: tuple[int, ...]


def _chunk(
    name: str,
    chunk: Any,
    stored: Mapping[tuple[Any, Any], Record],
    checkpoint: Checkpoint,
    folder: str,
    where: str,
) -> _Stored:
    offsets = chunk.get("offsets") if type(chunk) is Record else None
    shape = chunk.get("sizes") if type(chunk) is Record else None
    if not (_are_lengths(offsets) and _are_lengths(shape)):
        raise BrokenFile("bad-pickle", where, f"a part of {name} has no offsets or sizes")
    info = stored.get((name, offsets)) or stored.get((name, None))
    path, start, length = (info.get(key) if info else None for key in ("relative_path", "offset", "length"))
    if type(path) is not str or type(start) is not int or type(length) is not int or min(start, length) < 0:
        problem = f"does not say which file holds the part {list(offsets)} of {name}"
        raise BrokenFile("bad-pickle", where, problem)
    file = folder + path
    if start + length > checkpoint.files.get(file, 0):
        size = checkpoint.files.get(file)
        problem = f"says that a part of {name} ends at byte {start + length:,} of {path[:200]}, "
        problem += "which does not exist" if size is None else f"which has {size:,} bytes"
        raise BrokenFile("index-mismatch", where, problem)
    return _Stored(file, ByteRange(start, start + length), offsets, shape)


def _parts(checkpoint: Checkpoint, name: str, stored: list[_Stored]) -> tuple[TensorPart, ...]:
    return tuple(TensorPart(_tensor(checkpoint, name, part), part.offsets) for part in stored)


def _tensor(checkpoint: Checkpoint, name: str, part: _Stored) -> TensorSpec:
    """The tensor in the torch.save file of a part."""
    where, size, first = f"{checkpoint.repo}/{part.file}", len(part.bytes), part.bytes.start

    def read(span: ByteRange) -> bytes:
        return checkpoint.read_range(part.file, ByteRange(first + span.start, first + span.stop))

    start = read(ByteRange(0, min(size, FIRST_READ_BYTES))) if size else b""
    end = max(len(start), size - LAST_READ_BYTES)
    spans = {0: start, end: read(ByteRange(end, size))} if end < size else {0: start}
    archive = TorchZip(read, size, spans, where)
    tensor = read_pickle(BytesIO(archive.pickled()), where)
    if type(tensor) is not PickledTensor or tensor.shape != part.shape:
        raise BrokenFile("bad-pickle", where, f"holds no part of {name} of shape {list(part.shape)}")
    spec = PickledTensors(part.file, {name: tensor}, archive.storage, where)[name]
    return replace(spec, bytes=ByteRange(first + spec.bytes.start, first + spec.bytes.stop))


def _dict(root: Any, key: str, where: str) -> Mapping[Any, Any]:
    value = root.get(key) if type(root) is Record else None
    if type(value) is not dict:
        raise BrokenFile("bad-pickle", where, f"has no {key}: no metadata of a distributed checkpoint")
    return value


def _is_index(key: Record) -> bool:
    """Whether a key of `storage_data` is valid; hashing any other value could take exponential time."""
    offset = key.get("offset")
    return type(key.get("fqn")) is str and (offset is None or _are_lengths(offset))


def _are_lengths(value: Any) -> TypeGuard[tuple[int, ...]]:
    return type(value) is tuple and all(type(number) is int and number >= 0 for number in value)
