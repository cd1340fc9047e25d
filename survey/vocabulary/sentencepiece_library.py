"""Vocabularies of SentencePiece models: their pieces under the ids of a layout, or of a vocab.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sentencepiece import SentencePieceProcessor

from survey.vocabulary.entries import (
    BadVocabulary,
    Encode,
    Entry,
    Vocabulary,
    shown,
    special_entry,
)
from survey.vocabulary.piece_layouts import PieceLayout
from survey.vocabulary.spelling import with_spaces

_NO_TOKEN = -1  # the id of a piece that the vocabulary lacks


def from_sentencepiece(content: bytes, layout_of: Callable[[int], PieceLayout]) -> Vocabulary:
    """Parse a serialised model. layout_of: by the number of pieces; raises BadVocabulary, as this does."""
    processor = _loaded(content)
    pieces = processor.GetPieceSize()
    layout = layout_of(pieces)
    texts = [_piece(processor, number) for number in range(pieces)]
    shift = len(layout.first) - layout.skipped
    entries = {number: special_entry(text) for number, text in enumerate(layout.first)}
    entries |= {
        number + shift: _entry(processor, number, texts[number]) for number in range(layout.skipped, pieces)
    }
    entries |= {number: special_entry(text) for number, text in enumerate(layout.last, pieces + shift)}
    ids = [_first_id(layout, text) for text in texts[: layout.skipped]]
    ids += range(len(layout.first), pieces + shift)
    encode = _encoder(processor, ids.__getitem__, int)
    return Vocabulary(entries, encode, complete=layout.complete)


def from_piece_ids(vocab: Mapping[str, int], models: Sequence[bytes], last: Sequence[str] = ()) -> Vocabulary:
    """Parse a vocab.json that gives ids to pieces, and the models that cut text into them.

    last: tokens that the class appends. Raises BadVocabulary.
    """
    processors = [_loaded(content) for content in models]
    control = {"<s>", "</s>", "<pad>", "<unk>"} | {
        _piece(processor, number)
        for processor in processors
        for number in range(processor.GetPieceSize())
        if processor.IsControl(number) or processor.IsUnknown(number)
    }
    entries = {number: _listed_entry(text, control) for text, number in vocab.items()}
    entries |= {number: special_entry(text) for number, text in enumerate(last, len(vocab))}

    def id_of(piece: str) -> int:
        return vocab.get(piece, _NO_TOKEN)

    encoders = [_encoder(processor, id_of, str) for processor in processors]
    return Vocabulary(entries, encoders[0] if encoders else None, second_encode=(*encoders[1:2], None)[0])


def _listed_entry(text: str, control: set[str]) -> Entry:
    # Marian's >>fr<< chooses a language.
    if text in control or (text.startswith(">>") and text.endswith("<<")):
        return special_entry(text)
    return with_spaces(text)


def _loaded(content: bytes) -> SentencePieceProcessor:
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(content)
    except (RuntimeError, UnicodeDecodeError) as error:  # an error message may itself be no UTF-8
        raise BadVocabulary(f"SentencePiece refuses it: {str(error)[:300]}") from error
    return processor


def _first_id(layout: PieceLayout, text: str) -> int:
    """The id of a piece that the layout's own tokens replace."""
    return layout.first.index(text) if text in layout.first else _NO_TOKEN


def _encoder(
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


def _piece(processor: SentencePieceProcessor, number: int) -> str:
    try:
        piece: str = processor.IdToPiece(number)
    except UnicodeDecodeError as error:
        raise BadVocabulary(f"piece {number} is not UTF-8: {error.reason}") from error
    return piece


def _entry(processor: SentencePieceProcessor, number: int, piece: str) -> Entry:
    if processor.IsControl(number) or processor.IsUnknown(number):
        return Entry(shown(piece.encode()), piece.encode(), special=True)
    return with_spaces(piece)
