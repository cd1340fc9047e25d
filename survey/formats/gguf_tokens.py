"""The vocabulary in the header of a GGUF file, taken out as a small file of the same format.

It holds the tokens, their types, the kind of tokenizer and what decides how it cuts text, and nothing that
differs between the quantisations of a model: their vocabularies are equal byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
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
PRE, MERGES, SCORES = "tokenizer.ggml.pre", "tokenizer.ggml.merges", "tokenizer.ggml.scores"
SPACE_PREFIX, EXTRA_SPACES = "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.remove_extra_whitespaces"
BYTE_LEVEL, SENTENCEPIECE = "gpt2", "llama"  # kinds of tokenizers whose way to cut text is known
_INT32, _FLOAT32, _BOOL = 5, 6, 7
_U64 = struct.Struct("<Q")
MOST_SKIPPED = 64 << 10  # bytes that were passed over and are read all the same


@dataclass(frozen=True, slots=True)
class GgufTokens:
    """Tokens by id. model: the kind of tokenizer; empty if unstated. types: of each token, or empty.

    pre: of pieces of bytes, the name of the rule by which text is first cut. merges: two pieces and a space
    between them. scores: of SentencePiece's pieces. space_prefix: whether it puts a space before a text.
    extra_spaces: whether it removes repeated ones.
    """

    model: str
    texts: tuple[bytes, ...]
    types: tuple[int, ...]
    pre: str = ""
    merges: tuple[bytes, ...] = ()
    scores: tuple[float, ...] = ()
    space_prefix: bool = True
    extra_spaces: bool = False


def vocabulary_of(
    read: ReadRange, size: int, where: str, needs_merges: Callable[[str], bool] = lambda pre: True
) -> bytes | None:
    """The vocabulary of a file of `size` bytes as a file of its own; None if it holds none.

    needs_merges: by the name of the first rule, whether merges are of use; there are up to half a million.
    Raises BrokenFile (`bad-header`).
    """

    def is_enough(values: Values) -> bool:  # writers put the arrays side by side: little is read in vain
        merges = {MERGES} if _has_merges(values, needs_merges) else set()
        is_last = values.scalars.get(MODEL) not in (None, SENTENCEPIECE)  # whose flags come last
        return is_last and {TOKENS, TYPES, *merges} <= values.arrays.keys()

    try:
        start = _Start(read)
        window = Window(start.read, size)
        values = read_values(window, read_preamble(window)[1], is_enough)
        tokens, types = _arrays(values)
    except ValueError as error:
        raise BrokenFile("bad-header", where, str(error)) from error
    if tokens is None:
        return None
    model = str(values.scalars.get(MODEL, ""))
    parts = [_key(MODEL, STRING) + _text(model.encode())]
    kept = [(TOKENS, tokens), (TYPES, types)]
    if _has_merges(values, needs_merges):
        parts.append(_key(PRE, STRING) + _text(str(values.scalars[PRE]).encode()))
        kept.append((MERGES, values.arrays.get(MERGES)))
    if model == SENTENCEPIECE:
        flags = ((key, values.scalars.get(key)) for key in (SPACE_PREFIX, EXTRA_SPACES))
        parts += [_key(key, _BOOL) + bytes([flag]) for key, flag in flags if type(flag) is bool]
        kept.append((SCORES, values.arrays.get(SCORES)))
    parts += [
        _key(key, ARRAY) + struct.pack("<IQ", array.kind, array.count) + start.again(array.bytes)
        for key, array in kept
        if array is not None
    ]
    return preamble(keys=len(parts)) + b"".join(parts)


def _has_merges(values: Values, needs_merges: Callable[[str], bool]) -> bool:
    pre = values.scalars.get(PRE)
    return values.scalars.get(MODEL) == BYTE_LEVEL and isinstance(pre, str) and needs_merges(pre)


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
    merges, scores = values.arrays.get(MERGES), values.arrays.get(SCORES)
    return GgufTokens(
        str(values.scalars.get(MODEL, "")),
        texts,
        stated,
        str(values.scalars.get(PRE, "")),
        _strings(vocabulary, merges) if merges is not None and merges.kind == STRING else (),
        _floats(vocabulary, scores) if scores is not None and scores.kind == _FLOAT32 else (),
        values.scalars.get(SPACE_PREFIX) is not False,
        values.scalars.get(EXTRA_SPACES) is True,
    )


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


def _floats(content: bytes, array: ArrayValue) -> tuple[float, ...]:
    return tuple(np.frombuffer(content[array.bytes.start : array.bytes.stop], "<f4").tolist())


def _key(key: str, kind: int) -> bytes:
    return _text(key.encode()) + struct.pack("<I", kind)


def _text(text: bytes) -> bytes:
    return _U64.pack(len(text)) + text
