"""Torch files for tests, written opcode by opcode and member by member."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping


def text(value: str) -> bytes:
    """BINUNICODE."""
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def number(value: int) -> bytes:
    """LONG1."""
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def numbers(values: tuple[int, ...]) -> bytes:
    """A tuple of integers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key: str = "0", elements: int = 12, kind: str = "FloatStorage") -> bytes:
    """A storage by its persistent id."""
    parts = text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + number(elements)
    return b"(" + parts + b"tQ"


def tensor_pickle(
    *,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    elements: int,
    offset: int = 0,
    key: str = "0",
    kind: str = "FloatStorage",
) -> bytes:
    """What rebuilds one tensor, as torch.save writes it."""
    hooks = b"ccollections\nOrderedDict\n)R"
    parts = (
        storage(key, elements, kind) + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + hooks
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"tR"


def archive(
    members: Mapping[str, bytes],
    more: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """A zip as torch writes it; `more` lies outside its folder."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as opened:
        for name, content in members.items():
            opened.writestr(f"archive/{name}", content)
        for name, content in (more or {}).items():
            opened.writestr(name, content)
    return file.getvalue()
