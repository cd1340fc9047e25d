"""The key of a token table: tokenizers with the same key have the same table and are named once.

It is a digest of all that decides the table: the file of the vocabulary and those that cut text, what the
companion files state, the version of the measure, and the versions of the libraries that read the files. What
companion files say beyond that (chat templates, lengths, the model's layers) differs among the models of a
family, which share a tokenizer all the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

from survey.checkpoints.tokenizer_files import COMPANIONS
from survey.records.measure_definition import TOKENIZER
from survey.vocabulary.companions import Companions, read_companions
from survey.vocabulary.entries import TokenizerFiles

PARSED_BYTES = 1 << 20  # of companion files, which this process parses for their key; longer ones count whole
_LIBRARIES = ("tokenizers", "sentencepiece")
_NO_MATTER = "chat_template"


def table_key(files: TokenizerFiles) -> str:
    """The key of a tokenizer's table, as hex digits.

    Cryptographic: a forged tokenizer would give its tokens to other models.
    """
    companions = {name: content for name, content in files.contents.items() if name in COMPANIONS}
    others = {name: content for name, content in files.contents.items() if name not in COMPANIONS}
    return key_of(files.main, companions, {name: _sha256(content) for name, content in others.items()})


def key_of(main: str, companions: Mapping[str, bytes], sha256s: Mapping[str, str]) -> str:
    """The same of files of which the SHA-256 is known. sha256s: of all files but companions."""
    short = sum(map(len, companions.values())) <= PARSED_BYTES
    stated = _stated(read_companions(companions), main) if short else ""
    whole = {} if short else {name: _sha256(content) for name, content in companions.items()}
    parts = [_versions(), main, stated, sorted({**sha256s, **whole}.items())]
    return _sha256(json.dumps(parts).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _stated(companions: Companions, main: str) -> str:
    """What the companion files state of a table; beside a tokenizer.json only tokens count."""
    added = [(number, token.text, token.special) for number, token in companions.added.items()]
    tokens = [added, companions.repeated, companions.special, companions.malformed]
    if main == "tokenizer.json":
        return json.dumps(tokens)
    settings = {name: value for name, value in companions.settings.items() if name != _NO_MATTER}
    kind = [companions.tokenizer_class, companions.model_types, companions.vocab_rows]
    return json.dumps([tokens, kind, settings, dict(companions.named), companions.listed])


@cache
def _versions() -> str:
    return " ".join([f"names {TOKENIZER.version}", *(f"{name} {version(name)}" for name in _LIBRARIES)])
