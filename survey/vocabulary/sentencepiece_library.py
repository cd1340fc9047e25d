"""Models of the SentencePiece library: load one, read its pieces, cut text with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sentencepiece import SentencePieceProcessor

from survey.vocabulary.entries import BadVocabulary, Encode

NO_TOKEN = -1  # the id of a piece that the vocabulary lacks


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
