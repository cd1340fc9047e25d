"""Vocabularies that the tokenizers library understands: tokenizer.json, vocab.json + merges, vocab.txt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from survey.errors import storable
from survey.vocabulary.entries import (
    SPACE_MARK,
    BadVocabulary,
    Entry,
    Vocabulary,
    byte_alphabet,
    is_id,
    shown,
    spelled,
    with_spaces,
)

BATCH_TEXTS = 4096  # encoding all 256,000 texts of a vocabulary at once takes a gigabyte

Spell = Callable[[str], Entry]


def from_tokenizer_json(content: bytes) -> Vocabulary:
    """Parse a tokenizer.json, which defines a whole tokenizer. Raises BadVocabulary."""
    tokenizer = _made(lambda: Tokenizer.from_buffer(content))
    spell = _spelling(tokenizer)
    entries = {number: spell(piece) for piece, number in tokenizer.get_vocab(with_added_tokens=False).items()}
    for number, added in tokenizer.get_added_tokens_decoder().items():
        entries[number] = spelled(storable(added.content).encode(), added=True, special=added.special)
    return Vocabulary(entries, _encoder(tokenizer))


def from_vocab_json(vocab: Mapping[str, Any], merges: str | None) -> Vocabulary:
    """Parse GPT-2's two files; without merges the tokens have texts only. Raises BadVocabulary."""
    if not all(is_id(number) for number in vocab.values()):
        raise BadVocabulary("expected an object that gives each token's id")
    spell = _byte_level()
    entries = {number: spell(piece) for piece, number in vocab.items()}
    if merges is None:
        return Vocabulary(entries, None)
    lines = [line for line in merges.splitlines() if line and not line.startswith("#version")]
    if any(line.count(" ") != 1 for line in lines):
        raise BadVocabulary("merges.txt: expected two pieces on each line")
    pairs = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    tokenizer = _made(lambda: Tokenizer(models.BPE(vocab=dict(vocab), merges=pairs)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Vocabulary(entries, _encoder(tokenizer))


def from_vocab_txt(content: str, *, lowercase: bool) -> Vocabulary:
    """Parse BERT's vocab.txt, one piece per line. Raises BadVocabulary."""
    pieces = content.split("\n")
    if pieces[-1] == "":
        pieces.pop()
    vocab = {piece.rstrip("\r"): number for number, piece in enumerate(pieces)}
    tokenizer = _made(lambda: Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]")))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    named = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    entries = {
        number: _word_piece(piece, prefix="##")._replace(special=piece in named)
        for piece, number in vocab.items()
    }
    return Vocabulary(entries, _encoder(tokenizer))


@contextmanager
def _panics() -> Iterator[None]:
    """Raise BadVocabulary if the library panics."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # from Rust; it is no Exception
            raise
        raise BadVocabulary(f"the tokenizers library panics: {str(error)[:300]}") from error


def _made(make: Callable[[], Tokenizer]) -> Tokenizer:
    try:
        with _panics():
            tokenizer = make()
    except BadVocabulary:
        raise
    except Exception as error:  # the library raises bare Exceptions, too
        raise BadVocabulary(f"the tokenizers library refuses it: {str(error)[:300]}") from error
    # Files may ask to truncate or to pad every text; and dropout would make the result random.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    return tokenizer


def _encoder(tokenizer: Tokenizer) -> Callable[[Sequence[str]], list[list[int]]]:
    def cut(texts: Sequence[str]) -> list[list[int]]:
        try:
            with _panics():
                encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
                return [encoding.ids for encoding in encodings]
        except BadVocabulary:
            raise
        except Exception:  # noqa: BLE001 - bare: an unknown character without an unknown token
            half = len(texts) // 2
            return [*cut(texts[:half]), *cut(texts[half:])] if half else [[]]

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [
            ids
            for start in range(0, len(texts), BATCH_TEXTS)
            for ids in cut(texts[start : start + BATCH_TEXTS])
        ]

    return encode


def _spelling(tokenizer: Tokenizer) -> Spell:
    """The function that turns this tokenizer's pieces into entries."""
    model = tokenizer.model
    parts = [tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder]
    states = [part.__getstate__().decode() for part in parts if part is not None]  # JSON
    kinds = {kind for state in states for kind in _types(json.loads(state))}
    if "ByteLevel" in kinds:
        return _byte_level()
    if "Metaspace" in kinds or any(SPACE_MARK in state for state in states):
        return with_spaces
    return partial(
        _word_piece,
        prefix=getattr(model, "continuing_subword_prefix", None) or "",
        suffix=getattr(model, "end_of_word_suffix", None) or "",
    )


def _types(value: Any) -> list[str]:  # Any: JSON
    if isinstance(value, list):
        return [kind for item in value for kind in _types(item)]
    if not isinstance(value, dict):
        return []
    inner = [kind for item in value.values() for kind in _types(item)]
    return [*inner, value["type"]] if isinstance(value.get("type"), str) else inner


def _byte_level() -> Spell:
    """GPT-2's spelling; a piece with another character stands for itself."""
    alphabet = byte_alphabet()
    spells = frozenset(alphabet).issuperset  # this and `translate` are fast: there are 150,000 pieces
    bytes_of = {ord(char): byte for char, byte in alphabet.items()}

    def spell(piece: str) -> Entry:
        if spells(piece):
            return spelled(piece.translate(bytes_of).encode("latin-1"))
        return spelled(storable(piece).encode())

    return spell


def _word_piece(piece: str, prefix: str, suffix: str = "") -> Entry:
    """The entry of a piece; marks of a word's inside or end are displayed, but are no part of its text."""
    inside = bool(prefix) and piece.startswith(prefix) and piece != prefix
    text = piece.removeprefix(prefix) if inside else piece
    if suffix and text.endswith(suffix) and text != suffix:
        text = text.removesuffix(suffix)
    return Entry(shown(storable(piece).encode()), storable(text).encode(), continues=inside)
