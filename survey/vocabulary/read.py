"""From a checkpoint's files to its vocabulary: which files speak, their caps, and who parses them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from survey.checkpoint import Checkpoint
from survey.errors import NotThere, storable
from survey.vocabulary.byte_ranks import from_tekken, from_tiktoken, is_tiktoken
from survey.vocabulary.entries import BadVocabulary, Entry, Vocabulary, is_id, spelled
from survey.weights import find_weights

TOKENIZER_CAP_BYTES = 64 << 20  # the largest that are known have 34 MB (Gemma 3, with 262,145 tokens)
COMPANION_CAP_BYTES = 16 << 20
MEMORY_PER_BYTE = 20  # of a parsed tokenizer.json, and of the texts that are encoded
NAMES_BYTES = 160 << 20  # what the libraries take

# The first that is there speaks. tokenizer.json first: it alone says all of how texts are cut.
MAIN = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tiktoken.model",
    "vocab.json", "vocab.txt", "tekken.json",
)  # fmt: skip
_BESIDE = {"vocab.json": ("merges.txt",)}
COMPANIONS = ("tokenizer_config.json", "added_tokens.json")

Files = Mapping[str, int]  # name -> size in bytes


def tokenizer_files(files: Files, part: str | None = None) -> dict[str, int]:
    """The files that would be read for names, the one with the vocabulary first; empty: there is none.

    They lie at the root or, of a model that lies in a folder, beside its weights. part: the folder or file
    that is meant, whose own tokenizer comes before the root's.
    """
    if part is not None and (own := _in_folder(files, _folder_of_weights(files, part))):
        return own
    return _in_folder(files, "") or _in_folder(files, _folder_of_weights(files))


def _in_folder(files: Files, folder: str) -> dict[str, int]:
    held = {name.removeprefix(folder) for name in files if name.startswith(folder)}
    ranks = sorted(name for name in held if name.endswith(".tiktoken") and "/" not in name)
    main = next((name for name in (*MAIN, *ranks[:1]) if name in held), None)
    if main is None:
        return {}
    wanted = (main, *_BESIDE.get(main, ()), *COMPANIONS)
    return {folder + name: files[folder + name] for name in wanted if name in held}


def _folder_of_weights(files: Files, part: str | None = None) -> str:
    try:
        return find_weights(files.keys(), "", part).folder
    except NotThere:
        return ""


def expected_names_bytes(files: Files) -> int:
    """Upper estimate of the memory that reading the vocabulary takes; too large a file is not read."""
    size = next(iter(tokenizer_files(files).values()), 0)
    return NAMES_BYTES + MEMORY_PER_BYTE * size if 0 < size <= TOKENIZER_CAP_BYTES else 0


def read_vocabulary(checkpoint: Checkpoint, files: Files) -> Vocabulary:
    """The vocabulary of a checkpoint. files: of `tokenizer_files`, not empty.

    Raises BadVocabulary where they cannot be understood, SurveyError where they cannot be read.
    """
    main, size = next(iter(files.items()))
    if size > TOKENIZER_CAP_BYTES:
        raise BadVocabulary(f"{main}: has {size:,} bytes, our cap is {TOKENIZER_CAP_BYTES:,}")
    companions = {
        name.rpartition("/")[2]: checkpoint.read_file(name, COMPANION_CAP_BYTES)
        for name, size in files.items()
        if name != main and size <= COMPANION_CAP_BYTES
    }
    content = checkpoint.read_file(main, TOKENIZER_CAP_BYTES)
    try:
        found = _parse(main.rpartition("/")[2], content, companions)
    except BadVocabulary as error:
        raise BadVocabulary(f"{main}: {error}") from error
    if not found.entries:
        raise BadVocabulary(f"{main}: holds no tokens")
    return Vocabulary({**found.entries, **_added(found.entries, companions)}, found.encode)


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
    """Tokens that were added beside the vocabulary; companions that are broken add nothing."""
    found: dict[int, Entry] = {}
    listed = _lenient(companions.get("added_tokens.json"))
    for text, number in listed.items():
        if is_id(number):
            special = known[number].special if number in known else False
            found[number] = spelled(storable(text).encode(), added=True, special=special)
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
            found[int(key)] = spelled(storable(content).encode(), added=True, special=special)
    return found


def _config(companions: Mapping[str, bytes]) -> Mapping[str, Any]:
    return _lenient(companions.get("tokenizer_config.json"))


def _lenient(content: bytes | None) -> Mapping[str, Any]:
    try:
        return {} if content is None else _object(content)
    except BadVocabulary:
        return {}


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadVocabulary(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadVocabulary(f"holds a {type(found).__name__}, expected an object")
    return found


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadVocabulary(f"not UTF-8: {error}") from error
