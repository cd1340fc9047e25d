"""The file formats of tokenizers, one module each.

To support another: a module here with the functions of Format, its line in FORMATS, and the names of its
files in `survey/checkpoints/tokenizer_files.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import TokenizerFiles, Vocabulary
from survey.vocabulary.formats import (
    gguf,
    rwkv,
    sentencepiece_model,
    tekken,
    tiktoken,
    tokenizer_json,
    vocab_json,
    vocab_txt,
)


class Format(Protocol):
    """The functions that a format's module has."""

    def reads(self, name: str, content: bytes) -> bool:
        """Whether a file of this name and content has the format."""

    def parse(self, files: TokenizerFiles, companions: Companions) -> Vocabulary:
        """The vocabulary in `files.main`, less what companion files add to it. Raises BadVocabulary."""


# The first that reads a file parses it. A vocab.txt may be RWKV's; every other file is a SentencePiece model.
FORMATS: Sequence[Format] = (
    gguf, tokenizer_json, tekken, tiktoken, rwkv, vocab_txt, vocab_json, sentencepiece_model,
)  # fmt: skip


def format_of(files: TokenizerFiles) -> Format:
    """The format of the file with the vocabulary."""
    content = files.contents[files.main]
    return next(format_ for format_ in FORMATS if format_.reads(files.main, content))
