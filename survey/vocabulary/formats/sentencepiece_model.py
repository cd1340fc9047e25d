"""Models of SentencePiece: their pieces have the ids that the class of tokenizer gives them."""

from __future__ import annotations

from collections.abc import Callable

from sentencepiece import SentencePieceProcessor

from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import Entry, TokenizerFiles, Vocabulary, shown, special_entry
from survey.vocabulary.piece_layouts import PieceLayout, piece_layout
from survey.vocabulary.sentencepiece_library import NO_TOKEN, loaded, piece_encoder, piece_text
from survey.vocabulary.spelling import with_spaces


def reads(name: str, content: bytes) -> bool:
    """Whether it may be a model: what no other format reads is tried as one."""
    return True


def parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The pieces of a model, under the ids that the class of tokenizer gives them. Raises BadVocabulary."""
    main = files.main
    return from_sentencepiece(files.contents[main], lambda pieces: piece_layout(main, pieces, companions))


def from_sentencepiece(content: bytes, layout_of: Callable[[int], PieceLayout]) -> Vocabulary:
    """Parse a serialised model. layout_of: by the number of pieces; raises BadVocabulary, as this does."""
    processor = loaded(content)
    pieces = processor.GetPieceSize()
    layout = layout_of(pieces)
    texts = [piece_text(processor, number) for number in range(pieces)]
    shift = len(layout.first) - layout.skipped
    entries = {number: special_entry(text) for number, text in enumerate(layout.first)}
    entries |= {
        number + shift: _entry(processor, number, texts[number]) for number in range(layout.skipped, pieces)
    }
    entries |= {number: special_entry(text) for number, text in enumerate(layout.last, pieces + shift)}
    ids = [_first_id(layout, text) for text in texts[: layout.skipped]]
    ids += range(len(layout.first), pieces + shift)
    encode = piece_encoder(processor, ids.__getitem__, int)
    return Vocabulary(entries, encode, complete=layout.complete)


def _first_id(layout: PieceLayout, text: str) -> int:
    """The id of a piece that the layout's own tokens replace."""
    return layout.first.index(text) if text in layout.first else NO_TOKEN


def _entry(processor: SentencePieceProcessor, number: int, piece: str) -> Entry:
    if processor.IsControl(number) or processor.IsUnknown(number):
        return Entry(shown(piece.encode()), piece.encode(), special=True)
    return with_spaces(piece)
