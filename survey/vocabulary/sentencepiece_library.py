"""Vocabularies in SentencePiece's format: tokenizer.model, spiece.model."""

from __future__ import annotations

from collections.abc import Sequence

from sentencepiece import SentencePieceProcessor

from survey.vocabulary.entries import BadVocabulary, Entry, Vocabulary, shown, with_spaces


def from_sentencepiece(content: bytes) -> Vocabulary:
    """Parse a serialised SentencePiece model. Raises BadVocabulary."""
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(content)
    except (RuntimeError, UnicodeDecodeError) as error:  # an error message may itself be no UTF-8
        raise BadVocabulary(f"SentencePiece refuses it: {str(error)[:300]}") from error
    entries = {number: _entry(processor, number) for number in range(processor.GetPieceSize())}

    def encode(texts: Sequence[str]) -> list[list[int]]:
        try:
            ids: list[list[int]] = processor.Encode(list(texts), out_type=int)
        except RuntimeError as error:
            raise BadVocabulary(f"SentencePiece cannot cut with it: {str(error)[:300]}") from error
        return ids

    return Vocabulary(entries, encode)


def _entry(processor: SentencePieceProcessor, number: int) -> Entry:
    try:
        piece = processor.IdToPiece(number)
    except UnicodeDecodeError as error:
        raise BadVocabulary(f"piece {number} is not UTF-8: {error.reason}") from error
    if processor.IsControl(number) or processor.IsUnknown(number):
        return Entry(shown(piece.encode()), piece.encode(), special=True)
    return with_spaces(piece)
