"""vocab.json, an id for each piece: how the pieces are spelled, and which files beside it cut text.

The class of tokenizer decides. If no file states one that is known, the spelling follows from the pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from survey.vocabulary import language_codes
from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import (
    SPACE_MARK,
    BadVocabulary,
    Entry,
    TokenizerFiles,
    Vocabulary,
    is_id,
    json_object,
    repeated_ids,
    special_entry,
    utf8_text,
)
from survey.vocabulary.formats import sentencepiece_model
from survey.vocabulary.piece_layouts import reads_pieces
from survey.vocabulary.sentencepiece_library import NO_TOKEN, loaded, piece_encoder, piece_text
from survey.vocabulary.spelling import (
    WORD_END,
    Spell,
    as_it_is,
    byte_level,
    goes_on,
    with_spaces,
    word_piece,
)
from survey.vocabulary.tokenizer_classes import (
    BYTE_LEVEL,
    CLIP,
    LISTED_PIECES,
    WORD_ENDS,
    WORD_GOES_ON,
    class_of,
)
from survey.vocabulary.tokenizers_library import byte_level_encoder, clip_encoder

SPACE_AS_LETTER = "Ġ"  # of GPT-2's bytes
_PIECES_BESIDE = "sentencepiece.bpe.model"
_KNOWN = CLIP | WORD_ENDS | WORD_GOES_ON | LISTED_PIECES


def reads(name: str, content: bytes) -> bool:
    """Whether it is a vocab.json."""
    return name == "vocab.json"


def parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The pieces of a vocab.json, or of a model beside it if the class reads that. Raises BadVocabulary."""
    if _PIECES_BESIDE in files.contents and reads_pieces(companions):
        return sentencepiece_model.parse(replace(files, main=_PIECES_BESIDE), companions)
    return _from_vocab_json(files, companions)


def _from_vocab_json(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    contents, vocab = files.contents, json_object(files.contents[files.main])
    if not all(is_id(number) for number in vocab.values()):
        raise BadVocabulary("expected an object that gives each token's id")
    name = class_of(companions)
    models = [contents[file] for file in _models(name) if file in contents]
    if name in LISTED_PIECES or _is_of_sentencepiece(vocab):
        return _listed_pieces(vocab, models, name, companions)
    encode, merges = None, contents.get("merges.txt")
    if merges is not None and name in CLIP:
        encode = clip_encoder(vocab, utf8_text(merges))
    elif merges is not None and (name in BYTE_LEVEL or (name not in _KNOWN and _is_byte_level(vocab))):
        encode = byte_level_encoder(vocab, utf8_text(merges))
    entries = _entries(vocab, _spelling(vocab, name))
    return Vocabulary(entries, encode, remarks=repeated_ids(vocab.values()))


def _entries(vocab: Mapping[str, int], spell: Spell) -> dict[int, Entry]:
    return {number: spell(piece) for piece, number in vocab.items()}


def _spelling(vocab: Mapping[str, int], name: str | None) -> Spell:
    if name in CLIP:
        return byte_level(WORD_END)
    if name in WORD_ENDS:
        return lambda piece: word_piece(piece, prefix="", suffix=WORD_END)
    if name in WORD_GOES_ON:
        return goes_on
    if name in BYTE_LEVEL or _is_byte_level(vocab):
        return byte_level(WORD_END if any(piece.endswith(WORD_END) for piece in vocab) else "")
    if any(piece.endswith(WORD_END) for piece in vocab):
        return lambda piece: word_piece(piece, prefix="", suffix=WORD_END)
    return as_it_is


def _is_byte_level(vocab: Mapping[str, int]) -> bool:
    return any(piece.startswith(SPACE_AS_LETTER) for piece in vocab)


def _is_of_sentencepiece(vocab: Mapping[str, int]) -> bool:
    return any(piece.startswith(SPACE_MARK) for piece in vocab) and not _is_byte_level(vocab)


def _models(name: str | None) -> Sequence[str]:
    if name == "MarianTokenizer":
        return ("source.spm", "target.spm")
    return (_PIECES_BESIDE,) if name in LISTED_PIECES else ()


def _listed_pieces(
    vocab: Mapping[str, int], models: Sequence[bytes], name: str | None, companions: Companions
) -> Vocabulary:
    if companions.settings.get("separate_vocabs") is True:
        raise BadVocabulary(
            "separate_vocabs is true: the languages have a vocabulary each, and which of them the rows of a "
            "matrix stand for is not stated"
        )
    last: tuple[str, ...] = ()
    if name == "M2M100Tokenizer":
        kind = companions.setting("language_codes", "m2m100")
        if kind not in language_codes.M2M100:
            raise BadVocabulary(f"language_codes is {kind[:80]!r}, expected m2m100 or wmt21")
        last = tuple(f"__{code}__" for code in language_codes.M2M100[kind])
    return _from_piece_ids(vocab, models, last)


def _from_piece_ids(
    vocab: Mapping[str, int], models: Sequence[bytes], last: Sequence[str] = ()
) -> Vocabulary:
    """Parse a vocab.json that gives ids to pieces, and the models that cut text into them.

    last: tokens that the class appends. Raises BadVocabulary.
    """
    processors = [loaded(content) for content in models]
    control = {"<s>", "</s>", "<pad>", "<unk>"} | {
        piece_text(processor, number)
        for processor in processors
        for number in range(processor.GetPieceSize())
        if processor.IsControl(number) or processor.IsUnknown(number)
    }
    entries = {number: _listed_entry(text, control) for text, number in vocab.items()}
    entries |= {number: special_entry(text) for number, text in enumerate(last, len(vocab))}

    def id_of(piece: str) -> int:
        return vocab.get(piece, NO_TOKEN)

    encoders = [piece_encoder(processor, id_of, str) for processor in processors]
    first, second = (*encoders, None, None)[:2]
    return Vocabulary(entries, first, second_encode=second, remarks=repeated_ids(vocab.values()))


def _listed_entry(text: str, control: set[str]) -> Entry:
    # Marian's >>fr<< chooses a language.
    if text in control or (text.startswith(">>") and text.endswith("<<")):
        return special_entry(text)
    return with_spaces(text)
