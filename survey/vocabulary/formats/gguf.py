"""Vocabularies of llama.cpp: the kind of tokenizer decides how its pieces are spelled.

Source: llama.cpp's `llama-vocab.cpp` and its converter, which fills rows without a token with `[PAD151936]`.
"""

from __future__ import annotations

import ast
import re

from survey.errors import storable
from survey.formats.gguf_tokens import GgufTokens, tokens_in
from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import (
    SPACE_MARK,
    BadVocabulary,
    Entry,
    TokenizerFiles,
    Vocabulary,
    shown,
    spelled,
)
from survey.vocabulary.gguf_encoders import BYTE, CONTROL, UNKNOWN, UNUSED, USER_DEFINED, cutting_of
from survey.vocabulary.spelling import Spell, as_it_is, byte_level, with_spaces

_FILLED = re.compile(r"\[PAD-?\d+\]")


def reads(name: str, content: bytes) -> bool:
    """Whether it is a file of llama.cpp."""
    return name.endswith(".gguf")


def parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The tokens of the file. Raises BadVocabulary."""
    try:
        tokens = tokens_in(files.contents[files.main])
    except ValueError as error:
        raise BadVocabulary(str(error)) from error
    spell, remarks = _spelling(tokens.model), list[str]()
    if spell is None:
        remarks.append(f"the kind of tokenizer {tokens.model[:40]!r} is unknown: pieces as they are stored")
    entries = {number: entry for number, entry in enumerate(_entries(tokens, spell or as_it_is)) if entry}
    try:
        encode, made_ids = cutting_of(tokens) or (None, None)
    except BadVocabulary as error:  # the names are known all the same
        encode, made_ids = None, None
        remarks.append(f"cuts no text: {error}")
    return Vocabulary(entries, encode, remarks=tuple(remarks), made_ids=made_ids)


def _entries(tokens: GgufTokens, spell: Spell) -> list[Entry | None]:
    """The entry of each row; None for one that a converter filled."""
    pieces = [text.decode("utf-8", "backslashreplace") for text in tokens.texts]
    kinds = tokens.types or (1,) * len(pieces)
    return [_entry(piece, kind, spell) for piece, kind in zip(pieces, kinds, strict=True)]


def _entry(piece: str, kind: int, spell: Spell) -> Entry | None:
    if kind == UNUSED and _FILLED.fullmatch(piece):
        return None
    if kind in (UNKNOWN, CONTROL, UNUSED):
        return spelled(storable(piece).encode(), special=True)
    if kind == USER_DEFINED:  # a text as it is; converters of SentencePiece's left its mark in older files
        text = piece.replace(SPACE_MARK, " ") if spell is with_spaces else piece
        return spelled(storable(text).encode(), added=True)
    if kind == BYTE:
        return with_spaces(piece)
    return spell(piece)


def _spelling(model: str) -> Spell | None:
    """How the pieces of a kind of tokenizer are spelled; None if it is unknown."""
    spellings: dict[str, Spell] = {
        "gpt2": byte_level(),
        "llama": with_spaces,
        "t5": with_spaces,
        "plamo2": with_spaces,
        "gemma4": with_spaces,
        "bert": _word,
        "rwkv": _literal,
    }
    return spellings.get(model)


def _word(piece: str) -> Entry:
    """WordPiece, in which the converter marks the pieces that begin a word, not those within."""
    begins = piece.startswith(SPACE_MARK)
    text = storable(piece.removeprefix(SPACE_MARK)).encode()
    return Entry(shown(text if begins else b"##" + text), text, continues=not begins)


def _literal(piece: str) -> Entry:
    """RWKV's pieces are stored with Python's escapes."""
    try:
        data = ast.literal_eval(f"b'{piece}'") if len(piece) <= 1000 and "'" not in piece else piece.encode()
    except (ValueError, SyntaxError, MemoryError):
        data = storable(piece).encode()
    return spelled(bytes(data))
