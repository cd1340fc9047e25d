"""Files of llama.cpp for tests, written byte by byte: what the project reads is not what wrote them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from support.ggml_quantisers import quantised

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
_CODES = {U32: "<I", 5: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}


@dataclass(frozen=True)
class GgmlTensor:
    """A tensor as a file holds it; shape as everywhere, slowest first."""

    kind: int
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class Typed:
    """A value of a stated type; of an array, (type of its elements, elements)."""

    kind: int
    value: Any


def text(value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(encoded)) + encoded


def strings(*values: str | bytes) -> Typed:
    return Typed(ARRAY, (STRING, values))


def numbers(kind: int, *values: float) -> Typed:
    return Typed(ARRAY, (kind, values))


def value_bytes(value: str | int | float | bool | Typed) -> bytes:
    """A value with its type."""
    if isinstance(value, str):
        return struct.pack("<I", STRING) + text(value)
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", U32, value)
    if isinstance(value, float):
        return struct.pack("<If", F32, value)
    if value.kind != ARRAY:
        return struct.pack("<I", value.kind) + struct.pack(_CODES[value.kind], value.value)
    kind, items = value.value
    packed = [text(item) if kind == STRING else struct.pack(_CODES[kind], item) for item in items]
    return struct.pack("<IIQ", ARRAY, kind, len(items)) + b"".join(packed)


def header(
    entries: Sequence[tuple[str, int, Sequence[int], int]],
    values: Mapping[str, str | int | float | bool | Typed],
    *,
    version: int = 3,
) -> bytes:
    """The bytes before the data, without padding. entries: name, type, shape and offset of each tensor."""
    listed = b"".join(
        text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)
        for name, kind, shape, offset in entries
    )
    keys = b"".join(text(key) + value_bytes(value) for key, value in values.items())
    return b"GGUF" + struct.pack("<IQQ", version, len(entries), len(values)) + keys + listed


def gguf_file(
    tensors: Mapping[str, GgmlTensor],
    values: Mapping[str, str | int | float | bool | Typed] | None = None,
    *,
    alignment: int = 32,
    version: int = 3,
) -> bytes:
    """A whole file."""
    entries, data = [], b""
    for name, tensor in tensors.items():
        entries.append((name, tensor.kind, tensor.shape, len(data)))
        data += tensor.data + bytes(-len(tensor.data) % alignment)
    stated = {"general.architecture": "llama"} if values is None else values
    if alignment != 32:
        stated = {**stated, "general.alignment": alignment}
    start = header(entries, stated, version=version)
    return start + bytes(-len(start) % alignment) + data


def coded(rows: NDArray[np.float32], kind: str) -> GgmlTensor:
    """Rows [V, D] in a quantised type, or in BF16."""
    number = gguf.GGMLQuantizationType[kind]
    return GgmlTensor(int(number), rows.shape, quantised(rows, kind).tobytes())


def decoded(tensor: GgmlTensor) -> NDArray[np.float64]:
    """Its values by the package."""
    codes = np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape[0], -1)
    values = gguf.dequantize(codes, gguf.GGMLQuantizationType(tensor.kind))
    return values.reshape(tensor.shape).astype(np.float64)


def cloud(rows: int = 40, dims: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """Rows off-centre, of which 3, 7 and 8 are equal."""
    values = np.random.default_rng(seed).normal(0.01, 0.02, (rows, dims)).astype(np.float32)
    values[[7, 8]] = values[3]
    return values
