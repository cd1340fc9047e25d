"""Vocabularies and encoders by the tokenizers library: tokenizer.json, vocab.txt, and pairs that merge."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from survey.errors import storable
from survey.vocabulary.entries import SPACE_MARK, BadVocabulary, Encode, Vocabulary, spelled
from survey.vocabulary.spelling import WORD_END, Spell, byte_level, with_spaces, word_piece

ADDED_CAP_BYTES = 4 << 20  # of the list of added tokens; a thousand take 0.2 MB
_ADDED = re.compile(rb'"added_tokens"\s*:\s*\[')
BATCH_TEXTS = 4096  # encoding all 256,000 texts of a vocabulary at once takes a gigabyte


def from_tokenizer_json(content: bytes) -> Vocabulary:
    """Parse a tokenizer.json, which defines a whole tokenizer. Raises BadVocabulary."""
    tokenizer = _made(lambda: Tokenizer.from_buffer(content))
    spell = _spelling(tokenizer)
    entries = {number: spell(piece) for piece, number in tokenizer.get_vocab(with_added_tokens=False).items()}
    # A piece that a list holds twice has two ids, and only the later one by its text.
    for number in range(tokenizer.get_vocab_size(with_added_tokens=False)):
        if number not in entries and (piece := tokenizer.id_to_token(number)) is not None:
            entries[number] = spell(piece)
    added = tokenizer.get_added_tokens_decoder()
    for number, token in added.items():
        entries[number] = spelled(storable(token.content).encode(), added=True, special=token.special)
    return Vocabulary(entries, _encoder(tokenizer), remarks=_moved(content, added))


def _moved(content: bytes, added: Mapping[int, AddedToken]) -> tuple[str, ...]:
    """A remark if the file states other ids for added tokens than the library gives them."""
    texts = {number: token.content for number, token in added.items()}
    moved = [text for number, text in _stated(content) if texts.get(number) != text]
    if not moved:
        return ()
    return (
        f"{len(moved):,} of its added tokens have other ids than it states, {moved[0][:80]!r} the first: "
        "the library numbers them after the vocabulary",
    )


def _stated(content: bytes) -> list[tuple[int, str]]:
    """Ids and texts in the list of added tokens; empty if it cannot be read apart from the vocabulary.

    The whole file as objects of Python would take ten times its size.
    """
    match = _ADDED.search(content)
    text = content[match.end() - 1 :][:ADDED_CAP_BYTES].decode("utf-8", "replace") if match else "[]"
    try:
        items, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return []
    objects = (item for item in items if isinstance(item, dict))
    return [(item["id"], item["content"]) for item in objects if {"id", "content"} <= item.keys()]


def from_word_pieces(content: str, *, lowercase: bool, cut: bool = True) -> Vocabulary:
    """Parse a vocab.txt, one piece per line. cut: by BERT's rules. Raises BadVocabulary."""
    pieces = [piece.rstrip("\r") for piece in content.removesuffix("\n").split("\n")]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    named = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    entries = {
        number: word_piece(piece, prefix="##")._replace(special=piece in named)
        for number, piece in enumerate(pieces)
    }
    if not cut:
        return Vocabulary(entries, None)
    tokenizer = _made(lambda: Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]")))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return Vocabulary(entries, _encoder(tokenizer))


def byte_level_encoder(vocab: Mapping[str, int], merges: str) -> Encode:
    """The encoder of GPT-2's two files. merges: a pair of pieces per line. Raises BadVocabulary."""
    pairs = _pairs(merges)
    tokenizer = _made(lambda: Tokenizer(models.BPE(vocab=dict(vocab), merges=pairs)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _encoder(tokenizer)


def clip_encoder(vocab: Mapping[str, int], merges: str) -> Encode:
    """The encoder of CLIP's two files, whose words end with a mark. Raises BadVocabulary."""
    pairs = _pairs(merges)
    tokenizer = _made(
        lambda: Tokenizer(models.BPE(vocab=dict(vocab), merges=pairs, end_of_word_suffix=WORD_END))
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return _encoder(tokenizer)


def _pairs(merges: str) -> list[tuple[str, str]]:
    lines = [line for line in merges.splitlines() if line and not line.startswith("#version")]
    if any(line.count(" ") != 1 for line in lines):
        raise BadVocabulary("merges.txt: expected two pieces on each line")
    return [(left, right) for left, _, right in (line.partition(" ") for line in lines)]


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


def _encoder(tokenizer: Tokenizer) -> Encode:
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
    suffix = getattr(model, "end_of_word_suffix", None) or ""
    if "ByteLevel" in kinds:
        return byte_level(suffix)
    if "Metaspace" in kinds or any(SPACE_MARK in state for state in states):
        return with_spaces
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    return partial(word_piece, prefix=prefix, suffix=suffix)


def _types(value: Any) -> list[str]:  # Any: JSON
    if isinstance(value, list):
        return [kind for item in value for kind in _types(item)]
    if not isinstance(value, dict):
        return []
    inner = [kind for item in value.values() for kind in _types(item)]
    return [*inner, value["type"]] if isinstance(value.get("type"), str) else inner
