"""vocab.txt, a piece on each line: the lists of BERT and its like, and PhoBERT's, which counts each piece."""

from __future__ import annotations

import re
from collections.abc import Sequence

from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import (
    BadVocabulary,
    TokenizerFiles,
    Vocabulary,
    special_entry,
    utf8_text,
)
from survey.vocabulary.spelling import goes_on, word_piece
from survey.vocabulary.tokenizer_classes import (
    COUNTED_LINES,
    FAIRSEQ_TOKENS,
    ONE_A_LINE,
    WORD_PIECE,
    class_of,
    described,
)
from survey.vocabulary.tokenizers_library import word_piece_encoder

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_COUNTED = re.compile(r"\S+ [0-9]+")


def reads(name: str, content: bytes) -> bool:
    """Whether it is a vocab.txt."""
    return name == "vocab.txt"


def parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The pieces of a vocab.txt, as the class of tokenizer reads them. Raises BadVocabulary."""
    text, name = utf8_text(files.contents[files.main]), class_of(companions)
    lines = text.removesuffix("\n").split("\n")
    if name in COUNTED_LINES:
        return _counted_pieces(lines)
    # The classes that are known read a line as it is, even if each looks like a piece and a count.
    if name not in WORD_PIECE | ONE_A_LINE and len(lines) > 1 and all(map(_COUNTED.fullmatch, lines)):
        raise BadVocabulary(
            f"each line has a piece and a count, and no rule says which ids they have: "
            f"{described(companions)}"
        )
    # A class that is not known may cut by other rules; BERT's cannot do without its unknown token.
    cut = name in WORD_PIECE or (name not in ONE_A_LINE and "[UNK]" in lines)
    lowercase = companions.settings.get("do_lower_case") is not False
    return _word_pieces(lines, lowercase=lowercase, cut=cut)


def _word_pieces(lines: Sequence[str], *, lowercase: bool, cut: bool) -> Vocabulary:
    """Parse one piece per line. cut: by BERT's rules, else by unknown ones. Raises BadVocabulary."""
    pieces = [line.rstrip("\r") for line in lines]
    entries = {
        number: word_piece(piece, prefix="##")._replace(special=piece in _SPECIAL)
        for number, piece in enumerate(pieces)
    }
    vocab = {piece: number for number, piece in enumerate(pieces)}
    return Vocabulary(entries, word_piece_encoder(vocab, lowercase=lowercase) if cut else None)


def _counted_pieces(lines: Sequence[str]) -> Vocabulary:
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
