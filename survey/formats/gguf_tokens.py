"""The vocabulary in the header of a GGUF file, taken out as a small file of the same format.

It holds the tokens, their types and the kind of tokenizer, and nothing that differs between the quantisations
of a model: their vocabularies are equal byte for byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from survey.errors import BrokenFile
from survey.formats.gguf_values import (
    ARRAY,
    STRING,
    ArrayValue,
    Values,
    Window,
    preamble,
    read_preamble,
    read_values,
)
from survey.formats.safetensors_header import ReadRange
from survey.records.tensors import ByteRange

MODEL, TOKENS, TYPES = "tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_INT32 = 5
_U64 = struct.Struct("<Q")
MOST_SKIPPED = 64 << 10  # bytes that were passed over and are read all the same


@dataclass(frozen=True, slots=True)
class GgufTokens:
    """Tokens by id. model: the kind of tokenizer; empty if unstated. types: of each token, or empty."""

    model: str
    texts: tuple[bytes, ...]
    types: tuple[int, ...]


def vocabulary_of(read: ReadRange, size: int, where: str) -> bytes | None:
    """The vocabulary of a file of `size` bytes as a file of its own; None if it holds none.

    Raises BrokenFile (`bad-header`).
    """
    try:
        start = _Start(read)
        window = Window(start.read, size)
        # Writers put these three side by side: what follows, half a million merges, is not read.
        values = read_values(window, read_preamble(window)[1], until=frozenset({MODEL, TOKENS, TYPES}))
        tokens, types = _arrays(values)
    except ValueError as error:
        raise BrokenFile("bad-header", where, str(error)) from error
    if tokens is None:
        return None
    model = values.scalars.get(MODEL, "")
    parts = [_key(MODEL, STRING) + _text(str(model).encode())]
    parts += [
        _key(key, ARRAY) + struct.pack("<IQ", array.kind, array.count) + start.again(array.bytes)
        for key, array in ((TOKENS, tokens), (TYPES, types))
        if array is not None
    ]
    return preamble(keys=len(parts)) + b"".join(parts)


class _Start:
    """The beginning of a file as it is read in order, kept until bytes were passed over."""

    def __init__(self, read: ReadRange) -> None:
        self._read, self._kept = read, bytearray()

    def read(self, span: ByteRange) -> bytes:
        kept = len(self._kept)
        if span.start > kept + MOST_SKIPPED:
            return self._read(span)
        first = min(kept, span.start)  # with the end of a token that was passed over
        self._kept[first:] = self._read(ByteRange(first, span.stop))
        return bytes(self._kept[span.start :])

    def again(self, span: ByteRange) -> bytes:
        """Bytes that were passed over or read before: without a request, if they are kept."""
        if span.stop <= len(self._kept):
            return bytes(self._kept[span.start : span.stop])
        return self._read(span)


def tokens_in(vocabulary: bytes) -> GgufTokens:
    """The tokens of a file that `vocabulary_of` made. Raises ValueError."""
    window = Window(lambda span: vocabulary[span.start : span.stop], len(vocabulary))
    values = read_values(window, read_preamble(window)[1])
    tokens, types = _arrays(values)
    texts = () if tokens is None else _strings(vocabulary, tokens)
    stated = () if types is None else tuple(_numbers(vocabulary, types.bytes))
    return GgufTokens(str(values.scalars.get(MODEL, "")), texts, stated)


def _arrays(values: Values) -> tuple[ArrayValue | None, ArrayValue | None]:
    """The arrays of the tokens and of their types. Raises ValueError if they are none of that."""
    tokens, types = values.arrays.get(TOKENS), values.arrays.get(TYPES)
    if tokens is not None and tokens.kind != STRING:
        raise ValueError(f"{TOKENS} has elements of type {tokens.kind}, expected texts")
    if types is not None and (types.kind != _INT32 or tokens is None or types.count != tokens.count):
        shown = f"{types.count:,} elements of type {types.kind}"
        raise ValueError(f"{TYPES} has {shown}, expected one for each token")
    return tokens, types


def _strings(content: bytes, array: ArrayValue) -> tuple[bytes, ...]:
    texts, at = [], array.bytes.start
    for _ in range(array.count):
        start = at + 8
        at = start + int(_U64.unpack_from(content, at)[0])
        texts.append(content[start:at])
    return tuple(texts)


def _numbers(content: bytes, span: ByteRange) -> list[int]:
    numbers: list[int] = np.frombuffer(content[span.start : span.stop], "<i4").tolist()
    return numbers


def _key(key: str, kind: int) -> bytes:
    return _text(key.encode()) + struct.pack("<I", kind)


def _text(text: bytes) -> bytes:
    return _U64.pack(len(text)) + text
