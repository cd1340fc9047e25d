"""Vocabularies that list a piece for each id in vocab.json or vocab.txt: how they are spelled, and cut.

The class of tokenizer decides. If no file states one that is known, the spelling follows from the pieces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from survey.vocabulary import language_codes
from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import (
    SPACE_MARK,
    BadVocabulary,
    Entry,
    Vocabulary,
    is_id,
    json_object,
    special_entry,
    utf8_text,
)
from survey.vocabulary.sentencepiece_library import from_piece_ids
from survey.vocabulary.spelling import WORD_END, Spell, as_it_is, byte_level, goes_on, word_piece
from survey.vocabulary.tokenizer_classes import (
    BYTE_LEVEL,
    CLIP,
    COUNTED_LINES,
    FAIRSEQ_TOKENS,
    LISTED_PIECES,
    ONE_A_LINE,
    WORD_ENDS,
    WORD_GOES_ON,
    WORD_PIECE,
    class_of,
    described,
)
from survey.vocabulary.tokenizers_library import byte_level_encoder, clip_encoder, from_word_pieces

SPACE_AS_LETTER = "Ġ"  # of GPT-2's bytes
_COUNTED = re.compile(r"\S+ [0-9]+")


def from_vocab_json(content: bytes, contents: Mapping[str, bytes], companions: Companions) -> Vocabulary:
    """Parse a vocab.json with the files beside it. Raises BadVocabulary."""
    vocab = json_object(content)
    if not all(is_id(number) for number in vocab.values()):
        raise BadVocabulary("expected an object that gives each token's id")
    name = class_of(companions)
    models = [contents[file] for file in _models(name) if file in contents]
    if name in LISTED_PIECES or _is_of_sentencepiece(vocab):
        return _listed_pieces(vocab, models, name, companions)
    entries = _entries(vocab, _spelling(vocab, name))
    merges = contents.get("merges.txt")
    if merges is None:
        return Vocabulary(entries, None)
    if name in CLIP:
        return Vocabulary(entries, clip_encoder(vocab, utf8_text(merges)))
    if name in BYTE_LEVEL or (name not in _KNOWN and _is_byte_level(vocab)):
        return Vocabulary(entries, byte_level_encoder(vocab, utf8_text(merges)))
    return Vocabulary(entries, None)


def from_vocab_txt(content: bytes, companions: Companions) -> Vocabulary:
    """Parse a vocab.txt. Raises BadVocabulary."""
    text, name = utf8_text(content), class_of(companions)
    lines = text.removesuffix("\n").split("\n")
    if name in COUNTED_LINES:
        return _counted(lines)
    # The classes that are known read a line as it is, even if each looks like a piece and a count.
    if name not in _ONE_A_LINE and len(lines) > 1 and all(map(_COUNTED.fullmatch, lines)):
        raise BadVocabulary(
            f"each line has a piece and a count, and no rule says which ids they have: "
            f"{described(companions)}"
        )
    # A class that is not known may cut by other rules; BERT's cannot do without its unknown token.
    cut = name in WORD_PIECE or (name not in ONE_A_LINE and "[UNK]" in lines)
    lowercase = companions.settings.get("do_lower_case") is not False
    return from_word_pieces(text, lowercase=lowercase, cut=cut)


_ONE_A_LINE = WORD_PIECE | ONE_A_LINE
_KNOWN = CLIP | WORD_ENDS | WORD_GOES_ON | LISTED_PIECES


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
    return ("sentencepiece.bpe.model",) if name in LISTED_PIECES else ()


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
    return from_piece_ids(vocab, models, last)


def _counted(lines: Sequence[str]) -> Vocabulary:
    """PhoBERT's list: a piece and its count on each line, after four tokens that it does not list."""
    pieces = [line.rstrip("\r").rpartition(" ")[0] for line in lines]
    if not all(pieces):
        number = pieces.index("") + 1
        raise BadVocabulary(
            f"line {number}: expected a piece and its count, found {lines[number - 1][:40]!r}"
        )
    entries = {number: special_entry(text) for number, text in enumerate(FAIRSEQ_TOKENS)}
    entries |= {number: goes_on(piece) for number, piece in enumerate(pieces, len(FAIRSEQ_TOKENS))}
    return Vocabulary(entries, None)
