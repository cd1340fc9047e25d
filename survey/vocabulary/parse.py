"""Parse a tokenizer's files into its vocabulary with the parser of their format.

The names of the files of each format are in `survey/checkpoints/tokenizer_files.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from survey.errors import storable
from survey.vocabulary.byte_ranks import from_tekken, from_tiktoken, is_tiktoken
from survey.vocabulary.entries import (
    MAX_IDS,
    BadVocabulary,
    Entry,
    TokenizerFiles,
    Vocabulary,
    is_id,
    spelled,
)


def parse_vocabulary(files: TokenizerFiles) -> Vocabulary:
    """The vocabulary of a tokenizer, with the tokens that were added to it. Raises BadVocabulary.

    Hostile files can make a library use any memory and time; `survey.vocabulary.isolation` limits both.
    """
    base = _parse(files.main, files.contents[files.main], files.contents)
    if not base.entries:
        raise BadVocabulary("holds no tokens")
    vocabulary = Vocabulary({**base.entries, **_added(base.entries, files.contents)}, base.encode)
    if vocabulary.size > MAX_IDS:
        raise BadVocabulary(f"holds the token id {vocabulary.size - 1}, expected at most {MAX_IDS - 1}")
    return vocabulary


def _parse(main: str, content: bytes, companions: Mapping[str, bytes]) -> Vocabulary:
    if main == "tokenizer.json":
        from survey.vocabulary.tokenizers_library import from_tokenizer_json

        return from_tokenizer_json(content)
    if main == "vocab.json":
        from survey.vocabulary.tokenizers_library import from_vocab_json

        merges = companions.get("merges.txt")
        return from_vocab_json(_object(content), None if merges is None else _text(merges))
    if main == "vocab.txt":
        from survey.vocabulary.tokenizers_library import from_vocab_txt

        return from_vocab_txt(_text(content), lowercase=_config(companions).get("do_lower_case") is not False)
    if main == "tekken.json":
        return from_tekken(_object(content))
    if is_tiktoken(content):
        return from_tiktoken(content)
    from survey.vocabulary.sentencepiece_library import from_sentencepiece

    return from_sentencepiece(content)


def _added(known: Mapping[int, Entry], companions: Mapping[str, bytes]) -> dict[int, Entry]:
    """Tokens that companion files add to the vocabulary; malformed companions are ignored."""
    added: dict[int, Entry] = {}
    listed = _lenient(companions.get("added_tokens.json"))
    for text, number in listed.items():
        if is_id(number):
            special = known[number].special if number in known else False
            added[number] = spelled(storable(text).encode(), added=True, special=special)
    decoder = _config(companions).get("added_tokens_decoder")
    for key, item in decoder.items() if isinstance(decoder, Mapping) else ():
        content = item.get("content") if isinstance(item, Mapping) else None
        if (
            isinstance(content, str)
            and len(key) < 11
            and key.isascii()
            and key.isdecimal()
            and is_id(int(key))
        ):
            special = item.get("special") is True
            added[int(key)] = spelled(storable(content).encode(), added=True, special=special)
    return added


def _config(companions: Mapping[str, bytes]) -> Mapping[str, Any]:
    return _lenient(companions.get("tokenizer_config.json"))


def _lenient(content: bytes | None) -> Mapping[str, Any]:
    try:
        return {} if content is None else _object(content)
    except BadVocabulary:
        return {}


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadVocabulary(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadVocabulary(f"holds a {type(value).__name__}, expected an object")
    return value


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadVocabulary(f"not UTF-8: {error}") from error
