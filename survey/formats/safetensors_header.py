"""The header of a safetensors file: 8 bytes of length, JSON, then the tensors' data.

A header that contradicts itself is refused here, with a message that names the tensor. The reference parser
(the safetensors library), which returns no byte offsets, must accept the header, too; to it, a tensor of an
unknown dtype is shown as the bytes that it takes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open

from survey.errors import BrokenFile, NotRunnable
from survey.formats.bounded_json import fits, parse_json, refuse_long_name
from survey.formats.git_lfs import refuse_pointer
from survey.formats.header_entries import Coverage, checked_entry, checked_metadata
from survey.formats.json_stream import members
from survey.formats.name_kinds import Kinds
from survey.numerics.dtypes import BITS
from survey.process.ulimits import file_shortage, shortage
from survey.records.tensors import ByteRange, TensorSpec

LENGTH_BYTES = 8
HEADER_CAP_BYTES = 64 << 20  # 500,000 tensors; the format allows 100 MB
# The reference parser checks headers of usual size only: for 60 MB it takes half a GB.
REFERENCE_CAP_BYTES = 16 << 20
FIRST_READ_BYTES = 65_536  # most headers are shorter, so one request is enough

ReadRange = Callable[[ByteRange], bytes]


class Outline(Protocol):
    """A tensor's dtype and shape, without its bytes."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of one file by name; `size` is the file's, in bytes.

    metadata: what the writer noted (`__metadata__`). outlines: of the same tensors, if looking up a
    TensorSpec costs a request. left_out: number of further tensors, of kinds that have thousands.
    """

    file: str
    size: int
    tensors: Mapping[str, TensorSpec]
    metadata: Mapping[str, str] = field(default_factory=dict)
    outlines: Mapping[str, Outline] | None = None
    left_out: int = 0

    def outline(self, name: str) -> Outline | None:
        """A tensor's dtype and shape; None if the file holds no such tensor."""
        return (self.tensors if self.outlines is None else self.outlines).get(name)


def read_header(read: ReadRange, file: str, size: int, where: str) -> Header:
    """Read and check the header of a file of `size` bytes through `read`.

    Raises BrokenFile (`bad-header`) naming `where`.
    """
    if size < LENGTH_BYTES:
        raise BrokenFile("bad-header", where, f"file has {size} bytes, expected at least {LENGTH_BYTES}")
    start = read(ByteRange(0, min(size, FIRST_READ_BYTES)))
    refuse_pointer(start, "bad-header", where)
    json_bytes = int.from_bytes(start[:LENGTH_BYTES], "little")
    stop = LENGTH_BYTES + json_bytes
    if HEADER_CAP_BYTES < json_bytes <= size:
        problem = f"has a header of {json_bytes:,} bytes, expected at most {HEADER_CAP_BYTES:,}, our cap"
        raise BrokenFile("bad-header", where, problem)
    if stop > size:
        raise BrokenFile(
            "bad-header",
            where,
            f"header length is {json_bytes:,}, expected at most "
            f"{size - LENGTH_BYTES:,} in a file of {size:,} bytes",
        )
    if stop > REFERENCE_CAP_BYTES:
        start = read(ByteRange(0, stop))  # again: joining the two would take twice the memory
    elif stop > len(start):
        start += read(ByteRange(len(start), stop))
    return parse_header(start if len(start) == stop else start[:stop], file, size, where)


def parse_header(header: bytes, file: str, size: int, where: str) -> Header:
    """Parse length field + JSON of a file of `size` bytes.

    Raises BrokenFile (`bad-header`) if it contradicts itself, or the reference parser refuses it.
    """
    kinds = None if fits(header) else Kinds("bad-header", where)
    noted: Any = None  # of any kind, as long as nobody checked it
    tensors: dict[str, TensorSpec] = {}
    unknown: dict[str, ByteRange] = {}
    coverage, data_bytes = Coverage(), size - len(header)
    try:
        for name, entry in _entries(header, where, whole=kinds is None):
            if name == "__metadata__":
                noted = entry
                continue
            refuse_long_name(name, "bad-header", where)
            dtype, shape, span = checked_entry(name, entry)
            coverage.add(span, data_bytes)
            if dtype not in BITS:
                unknown[name] = span
            if kinds is None or kinds.keep(name):
                in_file = ByteRange(len(header) + span.start, len(header) + span.stop)
                tensors[name] = TensorSpec(name, file, dtype, shape, in_file)
        coverage.check(data_bytes)
    except ValueError as error:
        raise BrokenFile("bad-header", where, str(error)) from error
    if unknown and kinds is None:
        header = _with_bytes(header, unknown)
    if len(header) <= REFERENCE_CAP_BYTES and not (unknown and kinds):
        _validate(header, len(header) + data_bytes, where)
    metadata = checked_metadata(noted, where)
    return Header(file, size, tensors, metadata, left_out=kinds.left_out if kinds else 0)


def _entries(header: bytes, where: str, *, whole: bool) -> Iterable[tuple[str, Any]]:
    """The entries of the header by name. whole: whether it may be parsed at once. Raises BrokenFile."""
    if not whole:
        return members(header, LENGTH_BYTES, None, "bad-header", where)
    entries = parse_json(header[LENGTH_BYTES:], "bad-header", where)
    if not isinstance(entries, dict):
        raise BrokenFile("bad-header", where, f"header is a {type(entries).__name__}, expected an object")
    return entries.items()


def _with_bytes(header: bytes, unknown: Mapping[str, ByteRange]) -> bytes:
    """A header in which the tensors of unknown dtypes are bytes. unknown: the part of the data of each."""
    entries = json.loads(header[LENGTH_BYTES:])
    for name, span in unknown.items():
        entries[name] |= {"dtype": "U8", "shape": [len(span)]}
    text = json.dumps(entries).encode()
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _validate(header: bytes, size: int, where: str) -> None:
    """Check the header with the reference parser, too.

    Raises BrokenFile if it refuses the header, NotRunnable (`infeasible`) if this machine cannot hold the
    sparse copy that it reads: the file is not to blame for that.
    """
    try:
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as copy:
            copy.write(header)
            copy.truncate(size)  # sparse: the parser compares the offsets with the file's size
            copy.flush()
            with safe_open(copy.name, framework="np"):
                pass
    except SafetensorError as error:
        raise BrokenFile("bad-header", where, str(error)) from error
    except (OSError, MemoryError) as error:
        lack = file_shortage(error) or shortage(error) or str(error)
        problem = f"its header cannot be copied to a sparse file of {size:,} bytes to be checked"
        raise NotRunnable("infeasible", where, problem, lack) from error
