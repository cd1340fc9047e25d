"""tokenizer.json of the tokenizers library: a whole tokenizer, which alone states everything about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from tokenizers import AddedToken, Tokenizer

from survey.errors import storable
from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import SPACE_MARK, TokenizerFiles, Vocabulary, repeated_ids, spelled
from survey.vocabulary.spelling import Spell, byte_level, with_spaces, word_piece
from survey.vocabulary.tokenizers_library import built, encoder_of, merged_ids

ADDED_CAP_BYTES = 4 << 20  # of the list of added tokens; a thousand take 0.2 MB
_ADDED = re.compile(rb'"added_tokens"\s*:\s*\[')


def reads(name: str, content: bytes) -> bool:
    """Whether it is a tokenizer.json."""
    return name == "tokenizer.json"


def parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The tokens of a tokenizer.json. Raises BadVocabulary."""
    return from_tokenizer_json(files.contents[files.main])


def from_tokenizer_json(content: bytes) -> Vocabulary:
    """Parse a tokenizer.json, which defines a whole tokenizer. Raises BadVocabulary."""
    tokenizer = built(lambda: Tokenizer.from_buffer(content))
    spell = _spelling(tokenizer)
    pieces, remarks = _pieces(tokenizer, content)
    entries = {number: spell(piece) for number, piece in pieces}
    added = tokenizer.get_added_tokens_decoder()
    for number, token in added.items():
        entries[number] = spelled(storable(token.content).encode(), added=True, special=token.special)
    return Vocabulary(
        entries,
        encoder_of(tokenizer),
        remarks=(*remarks, *_moved(content, added)),
        made_ids=merged_ids(tokenizer),
    )


def _pieces(tokenizer: Tokenizer, content: bytes) -> tuple[Iterable[tuple[int, str]], tuple[str, ...]]:
    """The pieces of the vocabulary with their ids, in their order if these have no holes; and remarks."""
    model, size = tokenizer.model, tokenizer.get_vocab_size(with_added_tokens=False)
    pieces = [model.id_to_token(number) for number in range(size)]
    if None not in pieces:  # as many ids as pieces: they have no others
        return enumerate(pieces), ()
    vocab = tokenizer.get_vocab(with_added_tokens=False)
    remarks = repeated_ids(vocab.values())
    if remarks:  # the library keeps either, by chance
        vocab = json.loads(content)["model"]["vocab"]
    listed = {number: piece for piece, number in vocab.items()}
    # A piece that a list holds twice has two ids, and only the later one by its text.
    unlisted = {number: tokenizer.id_to_token(number) for number in set(range(size)).difference(listed)}
    return [
        *listed.items(),
        *((number, piece) for number, piece in unlisted.items() if piece is not None),
    ], remarks


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
