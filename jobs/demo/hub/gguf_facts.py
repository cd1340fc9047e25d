"""What the Hub reads from a model's first GGUF file for its documents: the architecture, and parameters."""

import struct
from collections.abc import Mapping
from io import BytesIO
from math import prod
from typing import Any

from jobs.demo.hub.replies import Span
from jobs.demo.hub.repos import StoredFile

_HEADER_BYTES = 1 << 24
_STRING, _ARRAY = 8, 9
_CODES = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}


def gguf_facts(files: Mapping[str, StoredFile]) -> dict[str, Any] | None:
    """The documents' `gguf`; None without such a file, or if its header is invalid."""
    path = min((path for path in files if path.endswith(".gguf")), default=None)
    if path is None:
        return None
    file = files[path]
    header = BytesIO(Span(file.source, 0, min(file.size, _HEADER_BYTES)).read())
    try:
        magic, _, tensors, keys = _read(header, "4sIQQ")
        values = {_text(header): _value(header, *_read(header, "I")) for _ in range(keys)}
        total = sum(_elements(header) for _ in range(tensors))
    except (struct.error, KeyError, OverflowError, RecursionError):  # a length beyond an index, too
        return None
    facts = {"total": total, "architecture": values.get("general.architecture")}
    return facts if magic == b"GGUF" else None


def _read(header: BytesIO, layout: str) -> tuple[Any, ...]:  # Any: as the layout says
    layout = f"<{layout}"
    return struct.unpack(layout, header.read(struct.calcsize(layout)))


def _text(header: BytesIO) -> str:
    (size,) = _read(header, "Q")
    return header.read(size).decode(errors="replace")


def _value(header: BytesIO, kind: int) -> object:
    if kind == _STRING:
        return _text(header)
    if kind != _ARRAY:
        return _read(header, _CODES[kind])[0]
    item_kind, count = _read(header, "IQ")
    return [_value(header, item_kind) for _ in range(count)]


def _elements(header: BytesIO) -> int:
    """The elements of the tensor whose entry comes next."""
    _text(header)
    (dims,) = _read(header, "I")
    *shape, _, _ = _read(header, f"{dims}QIQ")
    return prod(shape)
