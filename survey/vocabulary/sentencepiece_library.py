"""Models of the SentencePiece library: load one, read its pieces, cut text with it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sentencepiece import SentencePieceProcessor

from survey.vocabulary.entries import BadVocabulary, Encode

NO_TOKEN = -1  # the id of a piece that the vocabulary lacks
# Fields of sentencepiece_model.proto: of the model, a piece, the trainer's and the normalizer's settings.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _BYTE_FALLBACK, _UNKNOWN_ID = 3, 35, 40
_NAME, _PREFIX, _EXTRA_SPACES, _ESCAPED = 1, 3, 4, 5
_BPE = 2  # a model type
_UNKNOWN, _BYTE = 2, 6  # types of pieces


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a model of merged pairs consists of; types as in the library, which llama.cpp has adopted.

    prefix: whether a space is put before a text. extra_spaces: whether repeated ones are removed.
    """

    texts: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    prefix: bool
    extra_spaces: bool


def serialised(pieces: Pieces) -> bytes:
    """The model as the library loads it."""
    listed = zip(pieces.texts, pieces.scores, pieces.types, strict=True)
    body = b"".join(
        _field(_PIECES, _field(_PIECE, text.encode()) + _float(_SCORE, score) + _number(_TYPE, kind))
        for text, score, kind in listed
    )
    trainer = _number(_MODEL_TYPE, _BPE) + _number(_BYTE_FALLBACK, _BYTE in pieces.types)
    if _UNKNOWN in pieces.types:
        trainer += _number(_UNKNOWN_ID, pieces.types.index(_UNKNOWN))
    flags = ((_PREFIX, pieces.prefix), (_EXTRA_SPACES, pieces.extra_spaces), (_ESCAPED, True))
    normalizer = _field(_NAME, b"identity") + b"".join(_number(field, flag) for field, flag in flags)
    return body + _field(_TRAINER, trainer) + _field(_NORMALIZER, normalizer)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _float(field: int, number: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", number)


def _varint(number: int) -> bytes:
    """Protobuf's: seven bits of a byte each, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def loaded(content: bytes) -> SentencePieceProcessor:
    """Load a serialised model. Raises BadVocabulary."""
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(content)
    except (RuntimeError, UnicodeDecodeError) as error:  # an error message may itself be no UTF-8
        raise BadVocabulary(f"SentencePiece refuses it: {str(error)[:300]}") from error
    return processor


def piece_text(processor: SentencePieceProcessor, number: int) -> str:
    """The text of a piece. Raises BadVocabulary."""
    try:
        piece: str = processor.IdToPiece(number)
    except UnicodeDecodeError as error:
        raise BadVocabulary(f"piece {number} is not UTF-8: {error.reason}") from error
    return piece


def piece_encoder(
    processor: SentencePieceProcessor, id_of: Callable[[Any], int], out_type: type[int] | type[str]
) -> Encode:
    """The encoder of a model. id_of: the token id of a piece's number or text (hence Any)."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        try:
            cut = processor.Encode(list(texts), out_type=out_type)
        except RuntimeError as error:
            raise BadVocabulary(f"SentencePiece cannot cut with it: {str(error)[:300]}") from error
        return [[id_of(piece) for piece in pieces] for pieces in cut]

    return encode
